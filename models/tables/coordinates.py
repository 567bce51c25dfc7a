"""A pair of columns that locates a row, also seen along directions between north and east.

Bins of latitude and longitude cut a map into strips in only two directions. Prices follow rivers,
coasts and streets in other directions. So the networks also see distances along turned axes. On
King County's house sales that reduced the error by 3 % (docs/decisions/0001-default-spec.md).
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from models.tables.profile import Profile

# Angles between the table's own axes, which are at 0 and 90 degrees.
ANGLES = np.deg2rad([22.5, 45.0, 67.5, 112.5, 135.0, 157.5])
# What the names of such columns contain, including misspellings in well-known tables.
LATITUDE = re.compile(r"(?i)(^|[\W_])(lat|latt?itude|northing|y_?coord(inate)?)([\W_]|$)")
LONGITUDE = re.compile(r"(?i)(^|[\W_])(lng|long?|longt?itude|easting|x_?coord(inate)?)([\W_]|$)")
# Scaled coordinates are clipped here, because sums of larger ones could be NaN.
FARTHEST = 1e12
# A pair with fewer distinct values is not a map.
FEW_PLACES = 30

Turned = NDArray[np.float64]


def detect(profile: Profile, numeric: set[str]) -> tuple[str, str] | None:
    """Latitude and longitude by name, if `numeric` has exactly one of each."""
    places = [
        column.name
        for column in profile.columns
        if column.name in numeric and column.storage == "number" and column.distinct >= FEW_PLACES
    ]
    latitudes = [name for name in places if LATITUDE.search(name)]
    longitudes = [name for name in places if LONGITUDE.search(name)]
    if len(latitudes) == len(longitudes) == 1 and latitudes != longitudes:
        return latitudes[0], longitudes[0]
    return None


def directions() -> Turned:
    """(2, R): turned axes as sums of the scaled pair."""
    return np.stack([np.cos(ANGLES), np.sin(ANGLES)])
