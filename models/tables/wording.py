"""Formats numbers and dates for messages."""

from __future__ import annotations

import math
import re

import numpy as np

_MIDNIGHT = re.compile(r"T00:00:00\.0*$|\.?0*$")


def number_text(value: float) -> str:
    """Up to 15 digits, which a float always keeps.

    >>> number_text(20205800.0), number_text(0.1), number_text(-3.0), number_text(1e150)
    ('20205800', '0.1', '-3', '1e+150')
    """
    return f"{value:.15g}"


def rounded_text(value: float, digits: int) -> str:
    """That many significant digits, but all digits before the point.

    >>> rounded_text(20205800.4, 6), rounded_text(1234.5, 3), rounded_text(0.00012345, 3)
    ('20205800', '1234', '0.000123')
    """
    if abs(value) >= 10 ** (digits - 1):
        return number_text(float(np.rint(value)))
    return f"{value:.{digits}g}"


def moment_text(seconds: float) -> str:
    """Seconds since 1970-01-01 UTC as a date, with the time unless it is midnight.

    >>> moment_text(1280534400.0), moment_text(1280601000.5)
    ('2010-07-31', '2010-07-31T18:30:00.5')
    """
    if not math.isfinite(seconds):
        return number_text(seconds)
    return _MIDNIGHT.sub("", str(np.datetime64(round(seconds * 1e6), "us")))


def pointer_part(name: str) -> str:
    """A name escaped for a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
