"""The label that model.onnx gives is the served decision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from classes import let_model, state_model
from houses import Built
from onnx import TensorProto, helper

from models.export.exporter import OPSET
from models.export.graph import ML_OPSET, ExportMismatch, _raw_inputs, session, verify
from models.objectives.base import Outputs, Question
from models.objectives.classification.answers import ClassAnswers, Classes, SetCalibration
from models.objectives.classification.graph import LABEL, PROBABILITIES, add_labels
from models.objectives.trained import learning_of

WORDS = ["fair, dry", "good", "", "ünïcode|"]


def classes_of(count: int, positive: int | None, threshold: float) -> Classes:
    return Classes(
        levels=WORDS[:count],
        positive=positive,
        threshold=threshold,
        shares=[1 / count] * count,
        calibration=SetCalibration(rows=1, ranks=[1], scores=[0.5]),
    )


def labelled(classes: Classes) -> bytes:
    """A graph that passes probabilities through, and their labels."""
    shape = ["N", len(classes.levels)]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["given"], [PROBABILITIES])],
            "probabilities",
            [helper.make_tensor_value_info("given", TensorProto.DOUBLE, shape)],
            [helper.make_tensor_value_info(PROBABILITIES, TensorProto.DOUBLE, shape)],
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=10,
    )
    add_labels(model, classes)
    onnx.checker.check_model(model, full_check=True)
    graph: bytes = model.SerializeToString()
    return graph


def probabilities(count: int) -> np.ndarray:
    """Of many rows, among them ties and ones that lie on a threshold."""
    chance = np.random.default_rng(count)
    drawn = chance.dirichlet(np.ones(count), 200)
    ties = np.full((1, count), 1 / count)
    on_it = np.array([[0.7, 0.3], [0.3, 0.7], [0.5, 0.5]]) if count == 2 else ties
    return np.concatenate([drawn, ties, on_it])


@pytest.mark.parametrize(
    ("count", "positive", "threshold"),
    [(4, None, 0.5), (3, None, 0.5), (2, 0, 0.3), (2, 1, 0.3), (2, 1, 0.7), (2, 0, 0.5)],
)
def test_a_label_is_the_answer_s(count: int, positive: int | None, threshold: float) -> None:
    classes, given = classes_of(count, positive, threshold), probabilities(count)
    rows = len(given)
    outputs = Outputs(given, given[None], np.zeros((rows, 0)), np.zeros((rows, 0), np.int64))
    served = ClassAnswers(classes).answer(outputs, Question()).cells["prediction"]
    [labels] = session(labelled(classes)).run([LABEL], {"given": given})
    assert labels.tolist() == served
    assert set(served) == set(classes.levels)


@pytest.mark.parametrize("built", [state_model, let_model], ids=["three", "two"])
def test_model_onnx_labels_rows_as_they_are_served(built: Built) -> None:
    model = built()
    design = model.case.design
    inputs = _raw_inputs(design, design.numbers, design.codes)
    labels, found = session(model.full).run([LABEL, PROBABILITIES], inputs)
    answers = ClassAnswers(model.scores.assessment.kept["classes"])
    outputs = Outputs(found, found[None], design.numbers, design.codes)
    assert labels.tolist() == answers.answer(outputs, Question()).cells["prediction"]
    names = [output.name for output in session(model.full).get_outputs()]
    assert names == [PROBABILITIES, "members", LABEL]


def test_wrong_labels_are_not_registered() -> None:
    model = let_model()
    case, kept = model.case, model.scores.assessment.kept
    folds = [fold.validation for fold in case.folds]
    learning = learning_of(case.spec)

    def check(classes: Classes) -> None:
        given = kept | {"classes": classes}
        found = model.scores.out_of_fold
        verify(
            model.core,
            model.full,
            case.design,
            model.served,
            folds,
            found,
            lambda predictions, added: learning.differ(predictions, added, given),
        )

    check(kept["classes"])
    with pytest.raises(ExportMismatch, match="labels"):
        check(kept["classes"].model_copy(update={"threshold": 0.999}))
