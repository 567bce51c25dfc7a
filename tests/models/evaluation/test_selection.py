"""What the best of many trials is worth, and the smaller ones that are as good."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.selection import Expected, Trials, expected_error, simpler
from models.objectives import OBJECTIVES
from models.objectives.classification.metrics import Judged

REGRESSION, CLASSIFICATION = OBJECTIVES["regression"], OBJECTIVES["classification"]


def numbers(errors: np.ndarray, actual: np.ndarray | None = None) -> Trials:
    """Trials with these errors (T, n)."""
    rows = errors.shape[1]
    truths = np.asarray(np.random.default_rng(9).normal(10, 2, rows))
    truths = truths if actual is None else actual
    return Trials(REGRESSION, truths + errors, truths, np.arange(rows))


def two_classes(trials: int, rows: int, seed: int, strength: float = 1.0) -> Trials:
    """Trials that see the same signal, each with noise of its own."""
    rng = np.random.default_rng(seed)
    actual = (rng.random(rows) < 0.4).astype(np.float64)
    logit = strength * (actual - 0.4) + rng.normal(size=(trials, rows))
    positive = 1 / (1 + np.exp(-logit))
    both = np.stack([1 - positive, positive], axis=2).astype(np.float32)
    return Trials(CLASSIFICATION, both, actual, np.arange(rows), positive=1)


def found(trials: Trials, metric: str = "rmse") -> Expected:
    expected = expected_error(trials, metric)
    assert expected is not None
    return expected


def rmse(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))


# The correction.


def test_of_equally_good_trials_the_best_is_worth_what_all_are() -> None:
    naive, corrected, covered = [], [], 0
    for seed in range(24):
        errors = np.random.default_rng(seed).normal(size=(64, 800))
        expected = found(numbers(errors))
        naive.append(expected.naive)
        corrected.append(expected.estimate)
        assert expected.low is not None
        assert expected.high is not None
        covered += expected.low < 1 < expected.high
    assert np.mean(naive) < 0.97  # each trial's true error is 1
    assert np.mean(np.array(corrected)) == pytest.approx(1, abs=0.005)
    assert covered >= 22


def test_of_equally_good_classifiers_too() -> None:
    tables = [two_classes(24, 400, seed) for seed in range(20)]
    truth = found(two_classes(1, 20_000, 50), "log_loss").naive
    expected = [found(table, "log_loss") for table in tables]
    assert np.mean([one.naive for one in expected]) < 0.96 * truth
    assert np.mean([one.estimate for one in expected if one.estimate]) == pytest.approx(
        truth, rel=0.01
    )


def test_a_trial_that_is_clearly_better_is_worth_its_own_error() -> None:
    errors = np.random.default_rng(0).normal(size=(20, 400))
    errors[7] *= 0.5
    expected = found(numbers(errors))
    assert expected.winner == 7
    assert expected.wins[7] == 1
    assert expected.naive == pytest.approx(rmse(errors[7]))
    assert expected.estimate == pytest.approx(expected.naive, rel=0.005)


def test_a_single_trial_needs_no_correction() -> None:
    errors = np.random.default_rng(0).normal(size=(1, 200))
    expected = found(numbers(errors))
    assert expected.estimate == expected.naive == pytest.approx(rmse(errors[0]))
    assert expected.optimism == 0
    assert expected.low is not None
    assert expected.high is not None
    # Two standard errors of a root mean square of 200 are 10 %.
    assert 0.75 < expected.low / expected.naive < 0.96
    assert 1.04 < expected.high / expected.naive < 1.25


def test_copies_of_a_trial_are_worth_as_much_as_it_alone() -> None:
    errors = np.repeat(np.random.default_rng(0).normal(size=(1, 300)), 5, axis=0)
    expected = found(numbers(errors))
    assert expected.winner == 0
    assert expected.estimate == pytest.approx(expected.naive, rel=0.003)


def test_the_same_seed_gives_the_same_figures() -> None:
    trials = numbers(np.random.default_rng(0).normal(size=(8, 100)))
    assert expected_error(trials, "rmse", seed=3) == expected_error(trials, "rmse", seed=3)
    assert expected_error(trials, "rmse", seed=3) != expected_error(trials, "rmse", seed=4)


@pytest.mark.parametrize("metric", ["r2", "bias"])
def test_metrics_that_are_perfect_at_one(metric: str) -> None:
    """The best `r2` is the highest, the best `bias` the nearest to 1."""
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(3, 2_000)) * [[2.0], [1.0], [2.0]] + [[0.5], [0.0], [-0.5]]
    expected = found(numbers(errors), metric)
    assert expected.winner == 1
    assert expected.low is not None
    assert expected.high is not None
    assert expected.low < expected.naive < expected.high


def test_optimism_is_positive_if_a_high_metric_is_too_high() -> None:
    expected = found(numbers(np.random.default_rng(0).normal(size=(50, 200))), "r2")
    assert expected.estimate is not None
    assert expected.optimism == pytest.approx(expected.naive - expected.estimate)
    assert expected.estimate < expected.naive - 0.01


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "average_precision", "ece", "mcc"])
def test_metrics_that_are_no_means(metric: str) -> None:
    trials = two_classes(6, 300, 0)
    own = [
        Judged(
            trials.actual.astype(int), trials.predictions[t], trials.predictions[t].argmax(1), 1
        ).metrics()[metric]
        for t in range(6)
    ]
    expected = found(trials, metric)
    known = [one for one in own if one is not None]
    perfect = CLASSIFICATION.metrics[metric].perfect
    assert expected.winner == int(np.argmin(np.abs(np.array(known) - perfect)))
    assert expected.naive == pytest.approx(known[expected.winner])
    assert expected.low is not None
    assert expected.high is not None
    assert expected.low < expected.high
    assert sum(expected.wins) == pytest.approx(1)


def test_the_areas_of_equally_good_classifiers_are_corrected() -> None:
    truth = found(two_classes(1, 20_000, 50), "roc_auc").naive
    expected = [found(two_classes(12, 150, seed), "roc_auc") for seed in range(8)]
    assert np.mean([one.naive for one in expected]) > truth + 0.03
    corrected = [one.estimate for one in expected if one.estimate is not None]
    assert np.mean(corrected) == pytest.approx(truth, abs=0.02)


def test_decided_classes_count_instead_of_the_most_probable_ones() -> None:
    trials = two_classes(2, 100, 0)
    right = np.stack([trials.predictions[0].argmax(1), trials.actual.astype(int)])
    decided = Trials(
        CLASSIFICATION, trials.predictions, trials.actual, trials.units, predicted=right
    )
    expected = found(decided, "accuracy")
    assert (expected.winner, expected.naive) == (1, 1.0)


# Units.


def test_rows_of_a_unit_are_drawn_together() -> None:
    """40 groups of 25 rows with the same error are worth 40 rows."""
    alone = np.random.default_rng(0).normal(size=(32, 40))
    rows = np.repeat(alone, 25, axis=1)
    truths = np.linspace(5, 15, 1_000)
    group = np.repeat(np.arange(40) * 7, 25)
    grouped = found(Trials(REGRESSION, truths + rows, truths, group))
    apart = found(numbers(rows))
    single = found(numbers(alone))
    assert grouped.naive == pytest.approx(apart.naive)
    assert grouped.estimate == pytest.approx(single.estimate)
    assert grouped.optimism is not None
    assert apart.optimism is not None
    assert grouped.optimism > 3 * apart.optimism


def test_more_units_than_are_drawn_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = numbers(np.random.default_rng(0).normal(size=(4, 3_000)))
    plain = found(trials)
    monkeypatch.setattr("models.evaluation.selection.MOST_UNITS", 500)
    merged = found(numbers(np.random.default_rng(0).normal(size=(4, 3_000))))
    assert merged.naive == pytest.approx(plain.naive)
    assert merged.estimate == pytest.approx(plain.estimate, rel=0.005)
    assert plain.low is not None
    assert plain.high is not None
    assert merged.low is not None
    assert merged.high is not None
    assert merged.high - merged.low == pytest.approx(plain.high - plain.low, rel=0.2)


# Rows and trials that are not scored.


def test_rows_that_no_fold_scored_do_not_count() -> None:
    errors = np.random.default_rng(0).normal(size=(5, 100))
    actual = np.random.default_rng(1).normal(10, 1, 100)
    late = numbers(errors[:, 30:], actual[30:])
    gap = errors.copy()
    gap[:, :30] = np.nan
    assert found(numbers(gap, actual)) == found(late)


def test_a_trial_that_lacks_rows_of_others_cannot_win() -> None:
    errors = np.random.default_rng(0).normal(size=(3, 100))
    errors[1] *= 0.01
    errors[1, :20] = np.nan
    expected = found(numbers(errors))
    assert expected.winner != 1
    assert expected.wins[1] == 0


def test_a_trial_without_the_metric_cannot_win() -> None:
    """`rmsle` needs predictions above −1."""
    errors = np.random.default_rng(0).normal(size=(3, 100)) * 0.1
    errors[0] *= 0.01
    errors[0, 5] = -40
    expected = found(numbers(errors), "rmsle")
    assert expected.winner != 0
    assert np.isfinite(expected.naive)


def test_no_trial_has_the_metric() -> None:
    actual = np.zeros(20)  # `mape` divides by the truths
    assert expected_error(numbers(np.ones((2, 20)), actual), "mape") is None
    assert expected_error(numbers(np.full((2, 20), np.nan)), "rmse") is None
    assert simpler(numbers(np.full((2, 20), np.nan)), "rmse", [1, 2]) is None


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_very_few_rows(rows: int) -> None:
    expected = found(numbers(np.random.default_rng(0).normal(size=(4, rows))))
    assert np.isfinite(expected.naive)
    assert (expected.estimate is None) == (rows == 1)


# Smaller trials.


def paired(extra: float, sizes: list[int]) -> tuple[Trials, list[int]]:
    """Three trials with the same errors, of which the second and third have some more."""
    rng = np.random.default_rng(0)
    apart = np.linalg.qr(rng.normal(size=(400, 3)))[0].T * 20
    return numbers(np.stack([apart[0], *(apart[0] + extra * apart[1:])])), sizes


def test_the_smallest_that_is_no_worse_by_more_than_a_standard_error() -> None:
    trials, sizes = paired(0.05, [10_000, 4_000, 1_000])
    one = simpler(trials, "rmse", sizes)
    assert one is not None
    assert (one.trial, one.times_smaller) == (2, 10)
    assert one.difference == pytest.approx(np.hypot(1, 0.05) - 1)
    # That of the mean of 400 differences of squares, to the first order.
    errors = trials.predictions - trials.actual
    assert one.standard_error == pytest.approx(
        np.std(errors[2] ** 2 - errors[0] ** 2) / 2 / 20, rel=0.15
    )


def test_a_worse_one_or_one_of_about_the_same_size_is_not_as_good() -> None:
    trials, _ = paired(0.8, [])
    assert simpler(trials, "rmse", [10_000, 100, 100]) is None
    trials, _ = paired(0.0, [])
    assert simpler(trials, "rmse", [1_000, 501, 600]) is None
    one = simpler(trials, "rmse", [1_000, 499, 400])
    assert one is not None
    assert one.trial == 2


def test_a_smaller_classifier() -> None:
    trials = two_classes(2, 400, 0)
    best = found(trials, "roc_auc").winner
    both = np.concatenate([trials.predictions, trials.predictions[[best]]])
    sizes = [90, 90, 10]
    same = Trials(CLASSIFICATION, both, trials.actual, trials.units, positive=1)
    one = simpler(same, "roc_auc", sizes)
    assert one is not None
    assert (one.trial, one.difference, one.times_smaller) == (2, 0, 9)
