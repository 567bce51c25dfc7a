"""Tables with a planted fault that shuffled folds hide, and honest ones that look like them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from houses import LIMITS

from models.planning.resolve import resolve
from models.planning.review import SpecWarning, review
from models.spec import TrainingSpec
from models.tables.stored import ingest

Frame = Callable[[np.random.Generator], pd.DataFrame]
ROWS, PATIENTS, VISITS = 600, 100, 8
LINEAR = {"type": "linear"}


def reviewed(folder: Path, frame: pd.DataFrame, **spec: Any) -> list[SpecWarning]:
    csv, parquet = folder / "table.csv", folder / "table.parquet"
    frame.to_csv(csv, index=False)
    profile = ingest(csv, parquet, LIMITS)
    given = {"target": "y", "architecture": LINEAR, **spec}
    resolved = resolve(TrainingSpec.model_validate(given), profile)
    found = review(resolved, profile, parquet)
    for warning in found:
        _, named, folds = warning.detail.partition('{"folds": ')
        if named and warning.column:  # they fit the table
            given["folds"] = json.loads(folds[:-1])
            assert given["folds"]["column"] == warning.column
            resolve(TrainingSpec.model_validate(given), profile)
    return found


def codes(found: list[SpecWarning]) -> set[tuple[str, str | None]]:
    return {(warning.code, warning.column) for warning in found}


def numbers(chance: np.random.Generator, rows: int = ROWS) -> pd.DataFrame:
    """A target that follows from two of four columns."""
    frame = pd.DataFrame(chance.normal(size=(rows, 4)), columns=list("abcd")).round(4)
    return frame.assign(y=(frame.a + frame.b**2 + chance.normal(0, 0.4, rows)).round(4))


def patients(chance: np.random.Generator, names: np.ndarray) -> pd.DataFrame:
    who = chance.permutation(np.repeat(np.arange(PATIENTS), VISITS))
    frame = numbers(chance, len(who))
    effect = chance.normal(0, 3, PATIENTS)
    return frame.assign(k=names[who], y=(frame.y + effect[who]).round(4))


def worded(chance: np.random.Generator) -> pd.DataFrame:
    names = np.array(["".join(chance.choice(list("abcdefgh"), 8)) for _ in range(PATIENTS)])
    return patients(chance, names)


def numbered(chance: np.random.Generator) -> pd.DataFrame:
    return patients(chance, chance.permutation(PATIENTS) + 1000)


def coded(chance: np.random.Generator) -> pd.DataFrame:
    return patients(chance, np.array([f"P{i:03}" for i in chance.permutation(PATIENTS)]))


@pytest.mark.parametrize("frame", [worded, numbered, coded])
def test_entities_are_found_whatever_they_are_called(tmp_path: Path, frame: Frame) -> None:
    table = frame(np.random.default_rng(0))
    assert codes(reviewed(tmp_path, table)) == {("repeated_entities", "k")}
    apart = reviewed(tmp_path, table, folds={"type": "group", "column": "k"})
    assert codes(apart) == set()
    stratified = reviewed(
        tmp_path, table.rename(columns={"k": "user_id"}), folds={"type": "stratified"}
    )
    assert codes(stratified) == {("repeated_entities", "user_id")}


def walk(chance: np.random.Generator) -> pd.DataFrame:
    frame = numbers(chance)
    frame["y"] = (0.2 * frame.a + np.cumsum(chance.normal(size=ROWS))).round(4)
    frame["date"] = pd.date_range("2020-01-01", periods=ROWS).strftime("%Y-%m-%d")
    return frame.sample(frac=1, random_state=0)


@pytest.mark.parametrize("name", ["date", "t", "timestamp"])
def test_a_random_walk_by_date_is_found(tmp_path: Path, name: str) -> None:
    table = walk(np.random.default_rng(0)).rename(columns={"date": name})
    if name != "date":
        table[name] = pd.to_datetime(table[name]).map(pd.Timestamp.toordinal)
    assert codes(reviewed(tmp_path, table)) == {("ordered_in_time", name)}
    assert codes(reviewed(tmp_path, table, folds={"type": "time", "column": name})) == set()


def test_folds_in_time_need_every_date(tmp_path: Path) -> None:
    table = walk(np.random.default_rng(0))
    table.iloc[:4, table.columns.get_loc("date")] = None
    (found,) = reviewed(tmp_path, table)
    assert found.code == "ordered_in_time"
    assert "missing in 4 rows" in found.detail


@pytest.mark.parametrize("jitter", [0.0, 0.001, 0.01])
def test_copies_are_found_though_ids_dates_and_digits_differ(tmp_path: Path, jitter: float) -> None:
    chance = np.random.default_rng(0)
    table = numbers(chance).assign(kind=chance.choice(["x", "z"], ROWS))
    copies = table.sample(frac=0.2, random_state=0)
    copies[list("abcd")] += chance.normal(0, jitter, (len(copies), 4))
    table = pd.concat([table, copies])
    table["Id"] = range(len(table))
    table["seen"] = pd.date_range("2020-01-01", periods=len(table)).strftime("%Y-%m-%d")
    (found,) = reviewed(tmp_path, table)
    assert found.code == "duplicate_rows"
    assert "33 %" in found.detail  # 240 of 720 rows


def with_log(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(y=np.exp(3 * frame.y).round(6), leak=frame.y)


def with_bands(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(
        leak=["band" + "abcdefghijklmnop"[i] for i in pd.qcut(frame.y, 16).cat.codes]
    )


def with_square(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(leak=frame.y, y=((frame.y - 1) ** 2).round(4))


def with_copy(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(leak=frame.y * 0.9 + 7)


@pytest.mark.parametrize("leaky", [with_log, with_bands, with_square, with_copy])
def test_a_column_that_says_what_the_target_is(
    tmp_path: Path, leaky: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    table = leaky(numbers(np.random.default_rng(0)))
    assert codes(reviewed(tmp_path, table)) == {("leakage_suspect", "leak")}


def towns(chance: np.random.Generator) -> pd.DataFrame:
    frame = numbers(chance)
    town, effect = chance.integers(0, 60, ROWS), chance.normal(0, 2, 60)
    return frame.assign(
        town=[f"town {i}" for i in town], month=town % 12 + 1, y=frame.y + effect[town]
    )


def whole(chance: np.random.Generator) -> pd.DataFrame:
    """Measurements in whole numbers, each several times."""
    age, score = chance.integers(18, 90, ROWS), chance.integers(0, 300, ROWS)
    return numbers(chance).assign(age=age, score=score, y=lambda t: t.y + age / 10 + score / 50)


def discrete(chance: np.random.Generator) -> pd.DataFrame:
    """Rows agree by chance, often."""
    frame = pd.DataFrame({"a": chance.integers(1, 5, ROWS), "b": chance.choice(list("xyz"), ROWS)})
    return frame.assign(y=(frame.a + (frame.b == "x") + chance.normal(0, 0.3, ROWS)).round(1))


def sold(chance: np.random.Generator) -> pd.DataFrame:
    """Dates without drift, a duration on which the target depends, and rare single levels."""
    frame = numbers(chance)
    frame["sold"] = pd.date_range("2020-01-01", periods=ROWS).strftime("%Y-%m-%d")
    frame["time"] = chance.integers(0, 400, ROWS)
    frame["word"] = [f"word {i}" for i in np.minimum(chance.zipf(1.3, ROWS), 10_000)]
    return frame.assign(y=frame.y + frame.time / 100)


def mostly_zero(chance: np.random.Generator) -> pd.DataFrame:
    """An area of its own in each row that has one, and the same zero in all others."""
    frame = numbers(chance)
    areas = np.where(np.arange(ROWS) < ROWS // 2, 0, chance.permutation(ROWS) + 10_000)
    return frame.assign(pool=areas, y=frame.y + 2 * (areas > 0))


def random_ids(chance: np.random.Generator) -> pd.DataFrame:
    return numbers(chance).assign(customer_id=chance.integers(0, 100, ROWS))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("frame", [numbers, towns, whole, discrete, sold, random_ids, mostly_zero])
def test_honest_tables_are_silent(tmp_path: Path, frame: Frame, seed: int) -> None:
    assert codes(reviewed(tmp_path, frame(np.random.default_rng(seed)))) == set()


def test_the_example_table_is_honest(tmp_path: Path) -> None:
    profile = ingest(Path("examples/ames.csv"), tmp_path / "ames.parquet", LIMITS)
    given = {"target": "SalePrice", "architecture": LINEAR}
    spec = resolve(TrainingSpec.model_validate(given), profile)
    assert review(spec, profile, tmp_path / "ames.parquet") == []


def test_few_rows_say_nothing(tmp_path: Path) -> None:
    table = with_copy(numbers(np.random.default_rng(0), 8))
    assert codes(reviewed(tmp_path, table, k_folds=2)) == {("capacity_exceeds_data", None)}
