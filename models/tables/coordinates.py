"""Two columns that say where a row is, seen from more sides than north and east.

Bins of latitude and of longitude cut a map into strips along two directions; prices follow rivers,
coasts and streets that run otherwise. So the pair is also given as distances along turned axes.
On King County's house sales that took 3 % off the error (docs/decisions/0001-default-spec.md).
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from models.tables.profile import Profile

# Angles between the axes that a table has already, at 0 and 90 degrees.
ANGLES = np.deg2rad([22.5, 45.0, 67.5, 112.5, 135.0, 157.5])
# What the names of such columns hold, misspellings of well-known tables included.
LATITUDE = re.compile(r"(?i)(^|[\W_])(lat|latt?itude|northing|y_?coord(inate)?)([\W_]|$)")
LONGITUDE = re.compile(r"(?i)(^|[\W_])(lng|long?|longt?itude|easting|x_?coord(inate)?)([\W_]|$)")
# A scaled coordinate beyond this is cut off: sums of larger ones could be no number.
FARTHEST = 1e12
# Fewer different places than this are no map.
FEW_PLACES = 30

Turned = NDArray[np.float64]


def detect(profile: Profile, numeric: set[str]) -> tuple[str, str] | None:
    """Latitude and longitude, by their names, if the table has one of each among `numeric`."""
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
