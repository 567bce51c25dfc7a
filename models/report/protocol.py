"""How a run was measured, in words."""

from __future__ import annotations

from collections.abc import Iterator

from models.figures import one_line, percent
from models.report.run import Run
from models.spec import TrainingSpec


def protocol(run: Run) -> Iterator[str]:
    """A sentence or two for each decision that a score depends on."""
    spec = run.spec
    yield _folds(spec, len(run.design))
    yield (
        "What is learnt about a column, such as its mean, its scale and its levels, is learnt "
        "inside each fold from its training rows alone."
    )
    yield _stopping(spec)
    if spec.members is not None:
        how = {
            "nnls": "The weights of a blend's members are learnt without the rows of the fold "
            "that they serve.",
            "mean": "The members of a blend have equal weights.",
        }
        yield how[spec.weights]
    holdout = run.result["holdout"]
    yield (
        "No rows were set aside as a holdout."
        if holdout is None
        else f"{holdout['rows']:,} rows were set aside before anything was decided, and scored "
        "once, by the finished model."
    )
    yield {
        "group": "± is one standard error over groups of rows.",
        "time": "± is one standard error over blocks of rows in time.",
    }.get(spec.folds.type, "± is one standard error over rows.")


def _folds(spec: TrainingSpec, rows: int) -> str:
    column = one_line(spec.folds.column or "")
    kind = {
        "shuffled": "by chance",
        "stratified": "by chance, the target spread evenly over them",
        "group": f"with rows of one {column} kept together",
        "time": f"in the order of {column}",
    }[spec.folds.type]
    learnt = (
        "Each fold was predicted by models that learnt from earlier rows only."
        if spec.folds.type == "time"
        else "Each fold was predicted by models that learnt from the other folds' rows only."
    )
    return (
        f"{rows:,} rows were divided into {spec.k_folds} folds, {kind}. {learnt} Every score here "
        "is over these predictions, unless it says otherwise."
    )


def _stopping(spec: TrainingSpec) -> str:
    if spec.watched_fraction is None:
        return "Nothing stopped early: each network trained for all of its epochs."
    return (
        f"Early stopping watched {percent(spec.watched_fraction)} of each fold's training rows, "
        "never the rows that are scored."
    )
