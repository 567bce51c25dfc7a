"""Numbers as people read them: one way for reports, pages and the terminal."""

from __future__ import annotations

import unicodedata

DIGITS = 4  # significant
PERCENT = "\N{NO-BREAK SPACE}%"
# More digits before the decimal point say nothing.
LARGEST = 1e15
YEARS = 9999.5  # and what is below has no commas
# Of a foreign text on one line.
MOST_CHARACTERS = 60
# Control, format, surrogate and unassigned characters: invisible, or no part of an HTML document.
UNSHOWN = ("Cc", "Cf", "Cs", "Cn")


def number(value: float | None, digits: int = DIGITS) -> str:
    """That many significant digits, but all digits before the decimal point.

    >>> number(None), number(0.12345), number(208500.1), number(1e150)
    ('–', '0.1235', '208,500', '1e+150')
    """
    if value is None:
        return "–"
    if 10 ** (digits - 1) <= abs(value) < LARGEST:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def cell(value: float | None) -> str:
    """The same of a table's cell, which may be a year.

    >>> cell(1987.0), cell(208500.0)
    ('1987', '208,500')
    """
    return number(value) if value is None or abs(value) >= YEARS else f"{value:.{DIGITS}g}"


def deviation(error: float | None) -> str:
    """What follows a number that has this standard error."""
    return f" ± {number(error, 2)}" if error else ""


def percent(share: float, error: float | None = None) -> str:
    """A share, and its standard error with as many decimals.

    >>> percent(0.0834, 0.0021).split(), percent(-0.5).split(), percent(0.0042).split()
    (['8.3', '%', '±', '0.2'], ['-50', '%'], ['0.42', '%'])
    """
    decimals = 1 if abs(share) >= 0.01 else 2
    size = f"{100 * share:.{decimals}f}"
    if error is None:
        return f"{size.removesuffix('.0')}{PERCENT}"
    return f"{size}{PERCENT} ± {100 * error:.{decimals}f}"


def visible(text: str) -> str:
    """A foreign text, in which characters that cannot be seen are replaced, line breaks aside."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if letter != "\n" and unicodedata.category(letter) in UNSHOWN
        else letter
        for letter in text
    )


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """The same on one line, cut to its first `most` characters."""
    seen = visible(text[: most + 1]).replace("\n", " ")
    return seen if len(seen) <= most else seen[: most - 1] + "…"
