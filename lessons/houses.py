"""The houses of Ames, Iowa, for the lessons that price them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

# 2,930 sales of 2006 to 2010 with 24 of their columns; De Cock 2011, "Ames, Iowa: Alternative to
# the Boston Housing Data", Journal of Statistics Education 19(3).
FILE = Path(__file__).parent / "kaggle_house_prices" / "houses.csv"
PRICE = "SalePrice"


def houses(rows: int | None = None, seed: int = 0) -> pd.DataFrame:
    """The sales, or a sample of them; a missing cell is NaN.

    Raises
    ------
    FileNotFoundError: the installation lacks the file.
    """
    if not FILE.exists():
        raise FileNotFoundError(f"{FILE} is missing: install foldhouse again")
    frame = pd.read_csv(FILE)
    return frame if rows is None else frame.sample(rows, random_state=seed, ignore_index=True)
