"""Why networks learn less than can be learnt, each cause by its own measurement.

The first that applies is the finding: what comes later in the list may follow from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from models.evaluation.diagnosis import layers
from models.evaluation.diagnosis.columns import followed
from models.evaluation.diagnosis.evidence import Evidence, number, percent
from models.evaluation.diagnosis.findings import Asks, Code, Finding
from models.evaluation.diagnosis.next_specs import better, changed, is_line, recipe
from models.training.progress import Course

# The target is standardised, so predicting its mean has a loss of 1 or less.
DIVERGED_LOSS = 10.0
# Members whose trouble is reported one by one.
EXAMPLES = 3
# Standard deviations or means of unscaled inputs; activations and weights are made for about 1.
LARGEST_INPUT = 30.0
# Units that differ by a smaller share of their weights are the same unit many times.
ALIKE = 0.05
# The noise of dropout has p / (1 − p) times the variance of what it multiplies (Srivastava et al.
# 2014, section 10). More than this drowns the signal.
LOUDEST = 4.0
IDLE_UNITS = 0.5
# A layer's share of the largest gradient: with a thousandth, its weights stay as they began.
VANISHED = 1e-3
NO_GRADIENT = 1e-6  # its norm, for a standardised target; around 1 is usual
EXPLODED = 1e3  # of a gradient's norm; around 1 is usual
# A step's share of the weights: about 1e-3 is usual (Goodfellow, Bengio and Courville 2016, section
# 8.1.3 and Karpathy's notes for CS231n name it a rule of thumb).
USUAL_STEP, SMALLEST_STEP, LARGEST_STEP = 1e-3, 3e-5, 1.0
LARGEST_LATE_STEP = 0.05
# Steps that together are shorter than this share of the weights leave them where they began.
SHORTEST_WAY = 0.5
# e^−x of a weight is left of it by decay alone.
STRONGEST_DECAY = 5.0
# By how much the watched loss must have fallen in the last fifth of the epochs.
STILL_FALLING = 0.03
LATE = 0.95  # of the epochs
SMALL_LOSS = 0.05  # of a standardised target, or of classes

USUAL_RATE, USUAL_DROPOUT, USUAL_EPOCHS = 1e-3, 0.1, 200
CALM = (
    "lower optimizer.learning_rate, set optimizer.gradient_clip, scale the inputs, or choose an "
    "initialization with smaller weights (xavier, kaiming)"
)

Cause = Callable[[Evidence], Finding | None]


def found(code: Code, evidence: str, advice: str, next_spec: dict[str, object] | None) -> Finding:
    asks: Asks = "look" if next_spec is None else "change"
    return Finding(code=code, asks=asks, evidence=evidence, advice=advice, next_spec=next_spec)


def numbers_ended(run: Evidence) -> Finding | None:
    """Numbers that stopped being finite."""
    failed = [
        place for place, course in enumerate(run.courses) if course.stopped_by == "non_finite"
    ]
    if not failed:
        return None
    places = [
        f"fold {place // run.per_fold} at {run.courses[place].trouble}"
        for place in failed[:EXAMPLES]
    ]
    more = f" and {len(failed) - EXAMPLES} more" if len(failed) > EXAMPLES else ""
    return found(
        "numerical_trouble",
        f"the numbers of {len(failed)} of {len(run.courses)} members stopped being finite: "
        f"{', '.join(places)}{more}; each kept its best weights from before that, and other "
        "members replace those that have none",
        CALM,
        _calmer(run),
    )


def diverged(run: Evidence) -> Finding | None:
    """A loss far above that of a constant."""
    if run.fitted is None or run.fitted >= 0:
        return None
    losses = sorted(course.last_loss for course in run.courses)
    typical = losses[len(losses) // 2]
    if typical <= DIVERGED_LOSS:
        return None
    return found(
        "numerical_trouble",
        "the networks predict their own training rows worse than the mean of these rows would; "
        f"the training loss ended at {number(typical)}, where 1 is the mean's",
        CALM,
        _calmer(run),
    )


def unscaled_inputs(run: Evidence) -> Finding | None:
    if run.spec.preprocessing.numeric_scaling != "none" or not run.spans.size:
        return None
    if run.spans.max() <= LARGEST_INPUT:
        return None
    return found(
        "unscaled_inputs",
        f"numbers enter unscaled, and are as large as {number(float(run.spans.max()))}; weights "
        "start for inputs of about 1",
        "preprocessing.numeric_scaling 'robust' or 'standard'",
        _again(run, preprocessing={"numeric_scaling": "robust"}),
    )


def symmetric_units(run: Evidence) -> Finding | None:
    layer = layers.most_alike(run.courses)
    if layer is None or layer[1] >= ALIKE:
        return None
    name, apart = layer
    return found(
        "symmetric_units",
        f"the weights of the units of {name} differ by {percent(apart)} of their size: they "
        "started alike, get the same gradient, and stay one unit many times",
        "an initialization at random, such as xavier_uniform",
        recipe(run.spec)
        if run.spec.members is not None
        else _again(run, architecture={"initialization": "xavier_uniform"}),
    )


def dropout_too_strong(run: Evidence) -> Finding | None:
    dropout = run.network.dropout
    if dropout / (1 - dropout) <= LOUDEST or not run.widths:
        return None
    kept, loudness = (1 - dropout) * min(run.widths), dropout / (1 - dropout)
    return found(
        "dropout_too_strong",
        f"with dropout {dropout:g} about {number(kept)} of {min(run.widths)} units are left in a "
        f"batch, multiplied by {number(1 / (1 - dropout))}: a noise of "
        f"{number(loudness)} times the signal's variance",
        f"dropout from 0 to 0.5; start with {USUAL_DROPOUT}",
        _again(run, dropout=USUAL_DROPOUT),
    )


def saturated_units(run: Evidence) -> Finding | None:
    idle = _idle(run, "saturated_units")
    if idle is None:
        return None
    share, where = idle
    return found(
        "saturated_units",
        f"{share} of the hidden activations are within 1 % of a bound of their function{where}: "
        "its slope is almost 0 there",
        "an initialization with smaller weights (xavier_uniform), scaled inputs, or relu or silu "
        "instead of a bounded activation",
        _well_started(run),
    )


def dead_units(run: Evidence) -> Finding | None:
    idle = _idle(run, "dead_units")
    if idle is None:
        return None
    share, where = idle
    return found(
        "dead_units",
        f"{share} of the hidden units are 0 for every row{where}: no gradient moves them",
        "leaky_relu or silu instead of relu, kaiming_uniform initialization, a lower "
        "optimizer.learning_rate",
        _well_started(run),
    )


def _idle(run: Evidence, figure: str) -> tuple[str, str] | None:
    """The share of idle units, and the layer that has most of them; None if they are few."""
    share = layers.share(run.courses, figure)
    if share is None or share <= IDLE_UNITS:
        return None
    layer = layers.largest(run.courses, figure)
    return percent(share), "" if layer is None else f", {percent(layer[1])} in {layer[0]}"


def vanishing_gradients(run: Evidence) -> Finding | None:
    weakest = layers.weakest_gradient(run.courses)
    if weakest is None:
        return None
    name, smallest, largest = weakest
    if smallest >= VANISHED * largest and largest >= NO_GRADIENT:
        return None
    evidence = (
        f"the norm of the gradient is {number(smallest)} in {name} and {number(largest)} in the "
        "layer with the largest: errors of the output do not reach the weights"
    )
    return found(
        "vanishing_gradients",
        evidence,
        "an activation with a slope of about 1 (relu, silu, scaled_sigmoid), kaiming or xavier "
        "initialization, normalization, or fewer layers; more layers make it worse",
        _well_started(run),
    )


def exploding_gradients(run: Evidence) -> Finding | None:
    norms = [course.largest_gradient for course in run.courses if course.best_epoch > 0]
    if not norms or max(norms) <= EXPLODED:
        return None
    return found(
        "exploding_gradients",
        f"the norm of a gradient reached {number(max(norms))}, where about 1 is usual",
        "an initialization that keeps the variance (xavier_uniform, kaiming_uniform), "
        "optimizer.gradient_clip 1, fewer layers or normalization",
        _well_started(run, optimizer={"gradient_clip": 1.0}),
    )


def weight_decay_too_strong(run: Evidence) -> Finding | None:
    rate, decay = run.network.optimizer.learning_rate, run.network.weight_decay
    exponent = rate * decay * run.steps
    if exponent < STRONGEST_DECAY:
        return None
    shrunk = layers.shrinkage(run.courses)
    norm = "" if shrunk is None else f"; their norm ended at {percent(shrunk)} of the first epoch's"
    return found(
        "weight_decay_too_strong",
        f"learning rate × weight_decay × steps is {number(rate)} × {number(decay)} × "
        f"{run.steps:,} = {number(exponent)}: decay alone would leave e^−{number(exponent)} of the "
        f"weights{norm}",
        f"weight_decay of at most {number(0.5 / (rate * run.steps))}",
        _again(run, weight_decay=0.0),
    )


def learning_rate_too_low(run: Evidence) -> Finding | None:
    step = layers.typical_step(run.courses, first=True)
    weakest = layers.weakest_gradient(run.courses)
    if step is None or step >= SMALLEST_STEP:
        return None
    if weakest is not None and weakest[2] < NO_GRADIENT:  # no rate would help
        return None
    return found(
        "learning_rate_too_low",
        f"a step moves the weights by {number(step)} of their size, where about "
        f"{number(USUAL_STEP)} is usual; {run.steps:,} steps of optimizer.learning_rate "
        f"{number(run.network.optimizer.learning_rate)} leave them where they began",
        f"optimizer.learning_rate {USUAL_RATE:g} with adam"
        + (", no gradient_clip" if run.network.optimizer.gradient_clip else ""),
        _again(
            run,
            optimizer={"name": "adam", "learning_rate": USUAL_RATE, "gradient_clip": None},
        ),
    )


def learning_rate_too_high(run: Evidence) -> Finding | None:
    first = layers.typical_step(run.courses, first=True)
    last = layers.typical_step(run.courses, first=False)
    if first is None or last is None:
        return None
    if first <= LARGEST_STEP and last <= LARGEST_LATE_STEP:
        return None
    rate = run.network.optimizer.learning_rate
    return found(
        "learning_rate_too_high",
        f"a step moves the weights by {number(first)} of their size in the first epoch and "
        f"{number(last)} in the last, where about {number(USUAL_STEP)} is usual",
        f"a lower optimizer.learning_rate, such as {number(min(USUAL_RATE, rate / 10))}",
        _calmer(run),
    )


def stopped_too_soon(run: Evidence) -> Finding | None:
    """A watched loss that was still falling, or too few steps to leave the start."""
    return still_falling(run) or _too_few_steps(run)


def still_falling(run: Evidence) -> Finding | None:
    late = _late(run)
    falls = sorted(
        1 - course.best_loss / course.earlier_best
        for course in late
        if 0 < course.earlier_best < math.inf  # of a single epoch nothing is earlier
    )
    left = sorted(course.best_loss for course in late)
    if len(late) <= len(run.courses) / 2 or not falls:
        return None
    fall, loss = falls[len(falls) // 2], left[len(left) // 2]
    if fall <= STILL_FALLING or loss <= SMALL_LOSS:  # that of separate classes falls for ever
        return None
    return _longer(
        run,
        f"{len(late)} of {len(run.courses)} networks were best in the last of "
        f"{run.network.max_epochs:,} epochs; their loss fell by {percent(fall)} in the last fifth",
    )


def _too_few_steps(run: Evidence) -> Finding | None:
    step = layers.typical_step(run.courses, first=True)
    if step is None or step * run.steps >= SHORTEST_WAY:
        return None
    if len(_late(run)) <= len(run.courses) / 2:
        return None
    return _longer(
        run,
        f"{run.steps:,} steps, each of {number(step)} of the weights, are too few to leave the "
        "start",
    )


def _late(run: Evidence) -> list[Course]:
    """Members that were best at the end."""
    return [
        course
        for course in run.courses
        if course.best_epoch >= LATE * run.network.max_epochs and course.stopped_by != "keep_best"
    ]


def _longer(run: Evidence, evidence: str) -> Finding:
    epochs = 4 * run.network.max_epochs
    return found(
        "stopped_too_soon",
        evidence,
        f"raise max_epochs, to {epochs:,} for a start",
        changed(run.spec, max_epochs=min(10_000, epochs)),
    )


def underfitting(run: Evidence) -> Finding:
    rival = run.ahead
    fitted = run.explained if run.fitted is None else run.fitted
    where = "out of fold" if run.fitted is None else "on their own training rows"
    evidence = f"the networks explain {_explained(fitted)} of {run.measured} {where}"
    if rival is not None:
        evidence += f"; {_name(rival)} explain {_explained(run.explained_by(rival))} of unseen rows"
    evidence += left_to_columns(run)
    return found("underfitting", evidence, _room(run), better(run.spec, len(run.order)))


def left_to_columns(run: Evidence) -> str:
    """What a sentence adds about columns that the residuals follow."""
    known = followed(run)
    return "" if known is None else f"; {known.told}"


CAUSES: tuple[Cause, ...] = (
    unscaled_inputs,
    symmetric_units,
    dropout_too_strong,
    weight_decay_too_strong,
    learning_rate_too_low,
    saturated_units,
    dead_units,
    learning_rate_too_high,
    vanishing_gradients,
    exploding_gradients,
    diverged,
    stopped_too_soon,
)


def _name(baseline: str) -> str:
    return {"ridge": "lines", "logistic_regression": "lines", "boosting": "boosted trees"}[baseline]


def _explained(share: float) -> str:
    return percent(share) if share > 0 else "nothing"


def _room(run: Evidence) -> str:
    """What the networks lack."""
    if is_line(run.spec):
        return "the model is a line: use an architecture with hidden layers, or leave it out"
    if run.widths and min(run.widths) < 16:
        return (
            f"the narrowest layer has {min(run.widths)} units: use more, or leave the architecture "
            "to the recipe"
        )
    return "leave the architecture to the recipe, which adds boosted trees to the networks"


def _again(run: Evidence, **changes: object) -> dict[str, object]:
    """With epochs enough to show what the change does."""
    return changed(run.spec, max_epochs=max(run.network.max_epochs, USUAL_EPOCHS), **changes)


def _calmer(run: Evidence) -> dict[str, object]:
    rate = run.network.optimizer.learning_rate
    calm = USUAL_RATE if rate > USUAL_RATE else rate / 10
    return _again(run, optimizer={"learning_rate": calm, "gradient_clip": 1.0})


def _well_started(run: Evidence, **changes: object) -> dict[str, object]:
    """Weights and activations that keep the size of signals and gradients."""
    if run.spec.members is not None:
        return recipe(run.spec)
    architecture: dict[str, object] = {"initialization": "kaiming_uniform"}
    kind = run.network.architecture
    if hasattr(kind, "activation"):
        architecture["activation"] = "silu"
    if hasattr(kind, "normalization") and len(run.widths) > 4:
        architecture["normalization"] = "layer"
    if kind.type in ("realmlp", "linear"):
        architecture = {}
    return _again(run, architecture=architecture, **changes)
