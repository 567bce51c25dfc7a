"""Which findings follow from which numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.epochs import LayerEpoch
from models.evaluation.baselines import Comparison
from models.evaluation.diagnosis import Evidence, diagnose
from models.evaluation.diagnosis.next_specs import changed, recipe
from models.planning.recipe import HIDDEN_SIZES
from models.spec import TrainingSpec
from models.training.progress import Course, Trouble

ROWS = 600
RECIPES_NETWORK = {"type": "mlp", "hidden_sizes": HIDDEN_SIZES}


def layer(name: str, **figures: Any) -> LayerEpoch:
    healthy: Any = {
        "gradient_norm": 0.5,
        "update_ratio": 1e-3,
        "weight_norm": 5.0,
        "unlikeness": 0.98,
        "activation_mean": 0.3,
        "activation_deviation": 0.5,
        "dead_units": None,
        "saturated_units": None,
    }
    return {"name": name, **healthy, **figures}


def layers(**figures: Any) -> list[LayerEpoch]:
    """Three, the first with other figures."""
    return [layer("hidden.0", **figures), layer("hidden.1"), layer("output", unlikeness=None)]


def course(**changes: Any) -> Course:
    healthy = Course(
        epochs=56,
        best_epoch=40,
        best_loss=0.1,
        earlier_best=0.1,
        stopped_by="early_stopping",
        first_loss=0.9,
        last_loss=0.08,
        largest_gradient=1.5,
        layers=layers(),
        next_layers=layers(),
        last_layers=layers(),
    )
    return replace(healthy, **changes)


def overflown() -> Course:
    trouble = Trouble(epoch=2, step=12, layer="the outputs of hidden.0")
    return course(stopped_by="non_finite", trouble=trouble)


def spec(**given: Any) -> TrainingSpec:
    return TrainingSpec.model_validate(
        {"target": "price", "architecture": {"type": "mlp", "hidden_sizes": [64, 32]}, **given}
    )


def comparison(networks: float, mean: float = 1.0, **baselines: float) -> Comparison:
    """Errors of rows whose mean squares are as given, from the same normal numbers."""
    draws = np.random.default_rng(0).normal(size=ROWS) ** 2
    means = {"networks": networks, "constant": mean, "mean": mean, **baselines}
    errors = {
        name: value * np.roll(draws, 7 * place) / draws.mean()
        for place, (name, value) in enumerate(means.items())
    }
    return Comparison(
        errors=errors,
        units=np.arange(ROWS),
        typical=np.sqrt,
        skipped={},
        metrics={name: {} for name in means if name not in ("networks", "constant")},
        seconds={},
    )


def evidence(**changes: Any) -> Evidence:
    rng = np.random.default_rng(1)
    healthy = Evidence(
        spec=spec(),
        network=spec(),
        comparison=comparison(0.2, ridge=0.25, boosting=0.21),
        measured="the target's variance",
        explained=0.8,
        fitted=0.85,
        courses=[course()] * 5,
        per_fold=1,
        steps=1_000,
        parameters=500,
        train_rows=480,
        widths=[64, 32],
        residuals=rng.normal(size=ROWS),
        order=rng.permutation(ROWS),
        ordered_by=0.1,
        folds=np.repeat(np.arange(5), ROWS // 5),
        spans=np.array([1.0, 2.0]),
        numbers={name: rng.normal(size=ROWS) for name in ("area", "age", "sold")},
        dates=["sold"],
        words={"street": (rng.integers(0, 30, ROWS), [f"street {place}" for place in range(30)])},
    )
    if "spec" in changes:
        changes = {"network": changes["spec"], **changes}
    return replace(healthy, **changes)


# Networks that learn less than boosted trees do, also of their own training rows.
SHORT: dict[str, Any] = {
    "comparison": comparison(0.9, ridge=0.8, boosting=0.2),
    "explained": 0.1,
    "fitted": 0.12,
}
CAUSES: dict[str, dict[str, Any]] = {
    "underfitting": {},
    "symmetric_units": {"courses": [course(last_layers=layers(unlikeness=1e-3))] * 5},
    "dropout_too_strong": {"spec": spec(dropout=0.95)},
    "saturated_units": {"courses": [course(saturated_units=0.8)] * 5},
    "dead_units": {"courses": [course(dead_units=0.9)] * 5},
    "vanishing_gradients": {"courses": [course(next_layers=layers(gradient_norm=1e-5))] * 5},
    "exploding_gradients": {"courses": [course(), *[course(largest_gradient=2e3)] * 4]},
    "weight_decay_too_strong": {"spec": spec(weight_decay=10.0)},
    "learning_rate_too_low": {
        "courses": [course(layers=[layer(name, update_ratio=1e-7) for name in "abc"])] * 5
    },
    "learning_rate_too_high": {
        "courses": [course(layers=[layer(name, update_ratio=4.0) for name in "abc"])] * 5
    },
    "stopped_too_soon": {"courses": [course(best_epoch=99, best_loss=0.2, earlier_best=0.3)] * 5},
    "unscaled_inputs": {
        "spec": spec(preprocessing={"numeric_scaling": "none"}),
        "spans": np.array([1e4, 2.0]),
    },
    "numerical_trouble": {"courses": [course(), overflown(), *[course()] * 3]},
}


def codes(**changes: Any) -> list[str]:
    return [finding["code"] for finding in diagnose(evidence(**changes))]


def test_a_good_fit() -> None:
    (finding,) = diagnose(evidence())
    assert (finding["code"], finding["asks"], finding["next_spec"]) == ("good_fit", "nothing", None)
    assert "80 % of the target's variance" in finding["evidence"]


@pytest.mark.parametrize("code", CAUSES)
def test_each_cause_is_the_only_finding(code: str) -> None:
    (finding,) = diagnose(evidence(**(SHORT | CAUSES[code])))
    assert (finding["code"], finding["asks"]) == (code, "change")
    assert finding["next_spec"] is not None
    TrainingSpec.model_validate(json.loads(json.dumps(finding["next_spec"])))


@pytest.mark.parametrize("code", sorted(CAUSES.keys() - {"numerical_trouble", "stopped_too_soon"}))
def test_a_cause_without_an_effect_is_none(code: str) -> None:
    """Networks as good as boosted trees may do as they like."""
    assert codes(**CAUSES[code]) == ["good_fit"]


def test_networks_that_know_their_rows_and_no_others() -> None:
    known = {"fitted": 0.99, "explained": 0.1, "comparison": comparison(0.9, ridge=0.3)}
    (finding,) = diagnose(evidence(**known, parameters=70_000))
    assert finding["code"] == "overfitting"
    for part in ("99 %", "10 %", "ridge", "70,000 weights learnt from 480 rows"):
        assert part in finding["evidence"]
    weak = spec(weight_decay=1e-4, dropout=0, early_stopping=None)
    (finding,) = diagnose(evidence(**known, spec=weak))
    assert "weight_decay 0.0001 does nothing" in finding["evidence"]


QUICK: dict[str, Any] = {"effort": "quick", "architecture": RECIPES_NETWORK}
BLEND: dict[str, Any] = {
    "architecture": RECIPES_NETWORK,
    "members": [{}, {"architecture": {"type": "boosted_trees"}}],
}


@pytest.mark.parametrize(
    ("given", "advised"),
    [
        (QUICK, {"target": "price"}),
        (
            BLEND,
            {
                "target": "price",
                "architecture": {"type": "ridge"},
                "preprocessing": {"numeric_scaling": "standard"},
            },
        ),
    ],
)
def test_a_baseline_ahead_of_the_recipe_is_a_hint(
    given: dict[str, Any], advised: dict[str, Any]
) -> None:
    """Unless it is far ahead, and never the spec that was trained."""
    close = {"explained": 0.8, "fitted": 0.9, "comparison": comparison(0.2, ridge=0.15)}
    (finding,) = diagnose(evidence(**close, spec=spec(**given)))
    assert (finding["code"], finding["asks"]) == ("baseline_is_better", "hint")
    assert finding["next_spec"] == advised
    assert "85 %" in finding["evidence"]
    far = {"explained": 0.4, "fitted": 0.5, "comparison": comparison(0.6, ridge=0.15)}
    (finding,) = diagnose(evidence(**far, spec=spec(**given)))
    assert (finding["code"], finding["asks"]) == ("baseline_is_better", "change")
    assert codes(**close) == ["overfitting"]


def test_a_gap_is_no_harm_by_itself() -> None:
    """Unless nothing at all held the networks back."""
    gap = {"fitted": 0.99, "explained": 0.4, "comparison": comparison(0.6, ridge=0.61)}
    assert codes(**gap) == ["good_fit"]
    free = spec(dropout=0, early_stopping=None)
    assert codes(**gap, spec=free) == ["overfitting"]


def test_noise_is_no_better_than_the_mean() -> None:
    noise = {"explained": -0.02, "fitted": 0.1}
    (finding,) = diagnose(evidence(**noise, comparison=comparison(1.02, ridge=1.0, boosting=1.1)))
    assert (finding["code"], finding["next_spec"]) == ("no_better_than_mean", None)
    assert codes(**noise, comparison=comparison(1.02)) == ["no_better_than_mean"]
    learnt = {"explained": -0.2, "fitted": 0.1, "comparison": comparison(1.2, ridge=1.0)}
    assert codes(**learnt, spec=spec(**QUICK)) == ["no_better_than_mean"]
    stuck = CAUSES["symmetric_units"]
    assert codes(**noise, **stuck, comparison=comparison(1.02)) == ["symmetric_units"]


def test_networks_that_are_worse_than_the_mean_are_in_trouble() -> None:
    wild: dict[str, Any] = {
        "comparison": comparison(4.0, ridge=0.5),
        "explained": -3.0,
        "fitted": -3.0,
    }
    assert codes(**wild, courses=[course(last_loss=1e6)] * 5) == ["numerical_trouble"]
    assert codes(**wild, courses=[course(last_loss=1.2)] * 5) == ["underfitting"]


def test_the_evidence_names_the_step_and_the_layer() -> None:
    (finding,) = diagnose(evidence(**CAUSES["numerical_trouble"]))
    assert "1 of 5 members" in finding["evidence"]
    assert "fold 1 at step 12 (epoch 2) in the outputs of hidden.0" in finding["evidence"]


def test_mistaken_targets_are_named() -> None:
    residuals = np.random.default_rng(2).normal(size=ROWS)
    residuals[[5, 50, 500, 550]] = [12.0, -15.0, 11.0, -10.0]
    order = np.arange(ROWS)[::-1].copy()
    (finding,) = diagnose(evidence(residuals=residuals, order=order))
    assert (finding["code"], finding["asks"]) == ("label_errors_suspected", "look")
    assert f"rows {ROWS - 51}, {ROWS - 6}, {ROWS - 501}" in finding["evidence"]


def test_heavy_tails_are_no_mistakes() -> None:
    for seed in range(20):
        residuals = np.random.default_rng(seed).standard_t(3, ROWS)
        assert "label_errors_suspected" not in codes(residuals=residuals)


def test_a_few_rows_that_hold_the_error() -> None:
    residuals = np.random.default_rng(3).normal(size=ROWS)
    residuals[:3] = 30.0, 33.0, -35.0
    assert codes(residuals=residuals) == ["few_rows_dominate"]


def test_drift_along_the_table() -> None:
    order = np.arange(ROWS)
    residuals = np.random.default_rng(4).normal(size=ROWS) + np.linspace(-1, 1, ROWS)
    assert codes(residuals=residuals, order=order) == ["residuals_follow_order"]
    assert codes(residuals=residuals, order=order, ordered_by=0.9) == ["good_fit"]


def test_folds_that_differ_by_more_than_their_rows() -> None:
    uneven = comparison(0.2, ridge=0.25, boosting=0.21)
    errors = dict(uneven.errors)
    errors["networks"] = errors["networks"] * np.where(np.arange(ROWS) < ROWS // 5, 6.0, 0.4)
    assert codes(comparison=replace(uneven, errors=errors)) == ["folds_disagree"]


def test_a_comparison_in_words() -> None:
    close = comparison(1.0, ridge=1.21, boosting=0.2)
    sentence = close.sentence() or ""
    assert sentence.startswith("2.24 times the error of boosted trees, ")
    assert sentence.endswith("better than the mean")
    assert "9.1 ± " in sentence
    assert "% better than ridge regression" in sentence
    assert replace(close, metrics={}).sentence() is None


def test_next_specs_are_whole() -> None:
    given = spec(
        folds={"type": "time", "column": "sold"},
        features={"exclude": ["id"]},
        early_stopping=None,
        loss="huber",
    )
    other = TrainingSpec.model_validate(changed(given, dropout=0.1, optimizer={"name": "sgd"}))
    expected = given.model_copy(
        update={
            "dropout": 0.1,
            "optimizer": given.optimizer.model_copy(update={"name": "sgd"}),
        }
    )
    assert other.model_dump() == expected.model_dump()
    assert recipe(given) == {
        "target": "price",
        "folds": {"type": "time", "column": "sold"},
        "features": {"exclude": ["id"]},
        "loss": "huber",
    }


def test_mistakes_are_looked_for_where_nothing_was_learnt() -> None:
    residuals = np.random.default_rng(2).normal(size=ROWS)
    residuals[:5] = 50.0
    noise = {"explained": -0.02, "comparison": comparison(1.02, ridge=1.0), "residuals": residuals}
    (finding,) = diagnose(evidence(**noise))
    assert finding["code"] == "label_errors_suspected"
    assert (finding["next_spec"] or {})["loss"] == "huber"
    for given in (spec(loss="huber"), spec(members=[{}, {"architecture": {"type": "kernel"}}])):
        (finding,) = diagnose(evidence(**noise, spec=given))
        assert finding["next_spec"] is None


def test_less_than_two_points_more_are_nothing() -> None:
    """Of a line without noise, an error a hundred times as small is worth no cure."""
    exact = comparison(1e-4, ridge=1e-6)
    assert codes(comparison=exact, explained=0.9999, fitted=0.9999) == ["good_fit"]


def test_members_of_a_blend_change_with_it() -> None:
    members = [{"dropout": 0.9}, {"architecture": {"type": "ridge"}}]
    blend = TrainingSpec.model_validate({"target": "price", "members": members})
    assert changed(blend, dropout=0.1)["members"] == [{"dropout": 0.1}, members[1]]
