"""Charts that any objective has: of training, against baselines, and of what matters."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt

from models.charts.chart import Chart, Json, base, chart
from models.charts.drawings import WHOLE, Scale, bars, level, means, names, numbers
from models.evaluation.baselines import WORDS
from models.figures import one_line
from models.report.run import Run

# Epochs of one fold in a drawing, besides the best.
MOST_EPOCHS = 120
MOST_COLUMNS = 15
# From a checkpoint of an earlier version, which held no epochs of attempts before it.
RESUMED = " The run was resumed; the job's metrics have the epochs before that."


def against_baselines(run: Run) -> Iterator[Chart]:
    """How much less the model errs than each baseline."""
    rows = [
        {
            "baseline": WORDS.get(name, name),
            "better": own["better_by"],
            "error": own["better_by_error"],
            "low": own["better_by"] - (own["better_by_error"] or 0.0),
            "high": own["better_by"] + (own["better_by_error"] or 0.0),
        }
        for name, own in run.result["baselines"].items()
        if own.get("better_by") is not None and abs(own["better_by"]) <= 1
    ]
    if not rows:
        return
    y = names(alt.Y, "baseline", order=[str(row["baseline"]) for row in rows])
    x = numbers(alt.X, "better", "errs less by", zero=True, form="%")
    yield chart(
        "against_baselines",
        "How much less it errs than simple models",
        "On the same rows and folds, ± one standard error of the paired difference. Left of the "
        "dashed line, the simple model is better.",
        [level(0.0, alt.X), *means(x, y, "low", "high", upright=False)],
        rows,
        {"baseline": "than", "better": "errs less by (share)", "error": "±"},
        height=40 * len(rows) + 20,
    )


def learning_curves(run: Run) -> Iterator[Chart]:
    """Losses of each fold by epoch, with the best one where it is known."""
    # In a blend, the epochs are those of some of its networks, and the best ones are of all.
    has_best = run.spec.members is None
    best = {fold["fold"]: fold["best_epoch"] for fold in run.result["folds"]} if has_best else {}
    last = max((row.epoch for row in run.epochs), default=0)
    step = -(-last // MOST_EPOCHS) or 1
    rows: list[Json] = [
        {
            "fold": f"fold {row.fold}",
            "epoch": row.epoch,
            "scored": row.validation_loss,
            "trained": row.train_loss,
            "best": row.epoch == best.get(row.fold),
        }
        for row in run.epochs
        if (row.epoch - 1) % step == 0 or row.epoch in (best.get(row.fold), last)
    ]
    known = [row[name] for row in rows for name in ("scored", "trained") if row[name] is not None]
    if not known:
        return
    scale: Scale = "log" if min(known) > 0 else "linear"
    x = numbers(alt.X, "epoch", "epoch", form=WHOLE)
    y, trained = (
        numbers(alt.Y, name, "loss", scale=scale, form="~g") for name in ("scored", "trained")
    )
    color = alt.Color("fold:N")
    yield chart(
        "learning_curves",
        "Loss by epoch",
        "Solid on the fold's scored rows, dotted on its training rows, dropout included, the mean "
        "over its networks"
        + ("; a dot marks the best epoch." if best else " of one kind.")
        + (RESUMED if min(row.epoch for row in run.epochs) > 1 else ""),
        [
            base().mark_line(style="curve").encode(x=x, y=y, color=color),
            base().mark_line(style="faint").encode(x=x, y=trained, color=color),
            base()
            .transform_filter("datum.best")
            .mark_circle(style="mean")
            .encode(x=x, y=y, color=color),
        ],
        rows,
        {
            "fold": "fold",
            "epoch": "epoch",
            "scored": "on scored rows",
            "trained": "on training rows",
        },
    )


def importance(run: Run) -> Iterator[Chart]:
    """How much the error grows if a column's cells are shuffled."""
    rows = [
        {
            "column": one_line(row["column"], 30),
            "growth": row["error_growth"],
            "error": row["standard_error"],
            "low": row["error_growth"] - (row["standard_error"] or 0.0),
            "high": row["error_growth"] + (row["standard_error"] or 0.0),
        }
        for row in run.scores.importance[:MOST_COLUMNS]
    ]
    if not rows:
        return
    y = names(alt.Y, "column", order=[str(row["column"]) for row in rows])
    x = numbers(alt.X, "growth", "the error grows by", zero=True, form="%")
    yield chart(
        "importance",
        "What it leans on",
        "By how much the error on unseen rows grows if the cells of one column are shuffled, ± one "
        "standard error.",
        [bars(x, y), *means(x, y, "low", "high", upright=False)],
        rows,
        {"column": "column", "growth": "the error grows by (share)", "error": "±"},
        height=20 * len(rows) + 20,
    )


def errors_by_rows(run: Run) -> Iterator[Chart]:
    """What more rows would bring, where that was measured."""
    curve = run.result.get("learning_curve")
    if curve is None or curve["skipped"] is not None:
        return
    rows = [
        {
            "rows": point["rows"],
            "error": point["error"],
            "low": point["error"] - point["standard_error"],
            "high": point["error"] + point["standard_error"],
            "what": "measured",
        }
        for point in curve["points"]
    ]
    ahead = curve["forecast"]
    rows.append(
        {name: ahead[name] for name in ("rows", "error", "low", "high")} | {"what": "expected"}
    )
    x = numbers(alt.X, "rows", "training rows", scale="log", form="~s")
    y = numbers(alt.Y, "error", "error", form="~g")
    yield chart(
        "errors_by_rows",
        "What more rows would bring",
        "The error with fewer training rows, ± one standard error, and what twice the rows are "
        "expected to bring.",
        [layer.encode(color=alt.Color("what:N")) for layer in means(x, y, "low", "high")],
        rows,
        {"rows": "training rows", "error": "error", "low": "from", "high": "to", "what": ""},
    )
