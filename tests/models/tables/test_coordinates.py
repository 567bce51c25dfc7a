"""Two columns that say where a row is: how they are found, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from houses import Case, array_design, build, house_frame, lay, train

from models.data.design import load_design
from models.data.features import select
from models.data.preprocessing import learn
from models.networks.encoder import Encoder
from models.planning.estimate import input_width
from models.planning.resolve import SpecError
from models.spec import Preprocessing, TrainingSpec
from models.tables.coordinates import ANGLES

SMALL: dict[str, Any] = {"architecture": {"type": "mlp", "hidden_sizes": [4]}, "max_epochs": 2}


def mapped_frame(north: str = "Latitude", east: str = "Longitude") -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = house_frame()
    frame[north] = rng.uniform(47.1, 47.8, len(frame))
    frame[east] = rng.uniform(-122.5, -121.3, len(frame))
    frame.loc[::11, east] = np.nan
    return frame


@pytest.mark.parametrize(
    ("north", "east"),
    [
        ("lat", "long"),
        ("LATITUDE", "LONGITUDE"),
        ("Lattitude", "Longtitude"),  # as in a well-known table of Melbourne
        ("geo_lat", "geo_lon"),
        ("y_coord", "x_coord"),
        ("Northing", "Easting"),
    ],
)
def test_they_are_found_by_their_names(tmp_path: Path, north: str, east: str) -> None:
    spec = lay(tmp_path, mapped_frame(north, east), **SMALL).spec
    assert spec.features.coordinates == (north, east)


@pytest.mark.parametrize(
    ("north", "east"),
    [("platform", "belong"), ("flat", "along"), ("lat", "stories"), ("north", "east")],
)
def test_other_names_are_not_taken_for_them(tmp_path: Path, north: str, east: str) -> None:
    assert lay(tmp_path, mapped_frame(north, east), **SMALL).spec.features.coordinates is None


def test_two_latitudes_are_ambiguous_and_few_places_are_no_map(tmp_path: Path) -> None:
    frame = mapped_frame().assign(lat=lambda table: table["Latitude"] + 0.1)
    assert lay(tmp_path, frame, **SMALL).spec.features.coordinates is None
    frame = mapped_frame().assign(Latitude=lambda table: table["Latitude"].round(1))
    assert lay(tmp_path, frame, **SMALL).spec.features.coordinates is None


def test_the_spec_may_name_them_or_do_without(tmp_path: Path) -> None:
    frame = mapped_frame()
    named = lay(tmp_path, frame, features={"coordinates": ["area", "year"]}, **SMALL)
    assert named.spec.features.coordinates == ("area", "year")
    assert named.design.coordinates == (0, 1)
    without = lay(tmp_path, frame, features={"coordinates": None}, **SMALL)
    assert without.design.coordinates is None
    excluded = lay(tmp_path, frame, features={"exclude": ["Latitude"]}, **SMALL)
    assert excluded.spec.features.coordinates is None


@pytest.mark.parametrize(
    ("pair", "pointer"),
    [
        (["area", "area"], "/features/coordinates"),
        (["area", "quarter"], "/features/coordinates/1"),
        (["nowhere", "area"], "/features/coordinates/0"),
        (["area", "price"], "/features/coordinates/1"),
    ],
)
def test_a_pair_that_cannot_be_is_refused(tmp_path: Path, pair: list[str], pointer: str) -> None:
    with pytest.raises(SpecError) as refused:
        lay(tmp_path, mapped_frame(), features={"coordinates": pair}, **SMALL)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_the_turned_axes_by_hand() -> None:
    """Scaled by the fold's training rows, turned, and then treated as any number is."""
    rng = np.random.default_rng(0)
    numbers = np.column_stack([rng.normal(size=50), rng.normal(5, 3, 50), rng.normal(-7, 2, 50)])
    numbers[3, 2] = np.nan
    design = array_design(numbers)
    design = type(design)(**{**vars(design), "coordinates": (1, 2)})
    rows = np.arange(40)
    preprocessing = Preprocessing(numeric_scaling="standard")
    statistics = learn(preprocessing, design, [rows])
    encoder = Encoder(statistics, [], preprocessing, torch.float64)
    encoded = encoder(torch.from_numpy(numbers)[None], torch.zeros(1, 50, 0, dtype=torch.int64))[0]
    assert encoded.shape == (50, 3 + len(ANGLES))

    filled = np.where(np.isnan(numbers), np.nanmean(numbers[rows], axis=0), numbers)
    # A missing cell is left out of the spread, then filled.
    north, east = (
        (filled[:, column] - np.nanmean(numbers[rows, column])) / np.nanstd(numbers[rows, column])
        for column in (1, 2)
    )
    for place, angle in enumerate(ANGLES):
        turned = np.cos(angle) * north + np.sin(angle) * east
        expected = (turned - turned[rows].mean()) / turned[rows].std()
        np.testing.assert_allclose(encoded[:, 3 + place], expected, atol=1e-12)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "none"])
def test_what_is_served_has_them_too(tmp_path: Path, scaling: str) -> None:
    case: Case = lay(
        tmp_path,
        mapped_frame(),
        architecture={
            "type": "mlp",
            "hidden_sizes": [4],
            "numeric_embedding": {"type": "piecewise_linear", "bins": 4},
        },
        preprocessing={"numeric_scaling": scaling},
        max_epochs=2,
        k_folds=2,
    )
    built = build(case)
    assert input_width(case.spec, case.profile) == built.trained.encoder.width
    members = built.predictor.predict_table(case.cells).members
    close = 1e-5 * case.design.target.std()  # what float32 networks differ by from kernel to kernel
    for fold, rows in enumerate(case.folds):
        served = members[fold, rows.validation]
        expected = built.scores.out_of_fold[rows.validation]
        np.testing.assert_allclose(served, expected, rtol=0, atol=close)


def test_a_place_beyond_all_bounds_has_a_price(tmp_path: Path) -> None:
    """Sums of infinities along turned axes would be no number."""
    case = lay(tmp_path, mapped_frame(), k_folds=2, max_epochs=2)
    far, ends = (1e308, -1e308, 1e200), (1e308, -1e308, 0.0)
    rows = [{"Latitude": north, "Longitude": east} for north in far for east in ends]
    assert np.isfinite(build(case).predictor.predict_rows(rows).members).all()


def test_a_place_beyond_all_bounds_spoils_no_fold(tmp_path: Path) -> None:
    frame = mapped_frame()
    frame.loc[5, ["Latitude", "Longitude"]] = [1e308, -1e308]
    trained = train(lay(tmp_path, frame, **SMALL))
    assert all(course.best_epoch > 0 for course in trained.courses)


def test_a_spec_from_before_they_were_known_trains_without(tmp_path: Path) -> None:
    case = lay(tmp_path, mapped_frame(), **SMALL)
    stored = case.spec.model_dump()
    del stored["features"]["coordinates"]
    spec = TrainingSpec.model_validate(stored)
    design, _ = load_design(case.parquet, spec, select(spec, case.profile))
    assert design.coordinates is None
