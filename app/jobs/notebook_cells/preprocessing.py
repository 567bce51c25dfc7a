# %% [markdown]
# A missing number is replaced before it is scaled. A word becomes *one-hot*: one input for each
# level, 1 for the row's own and 0 for all others. A missing word is a level of its own; a level
# that no training row has is 0 everywhere.
#
# All of this is learnt from the fold's training rows. A mean over all rows would carry something of
# the scored rows into training, and the score would come out too good. That is *leakage*.

# %%
FILLS = {"mean": np.nanmean, "drop_rows": np.nanmean, "median": np.nanmedian}
MOST_LEVELS = 1_000


class Preprocessing:
    """What a fold learns about the columns."""

    def __init__(self, rows):
        known = numbers[rows]
        known[:, np.isnan(known).all(axis=0)] = 0.0
        self.fill = np.zeros(len(numeric))
        if numeric_missing != "zero":
            self.fill = FILLS[numeric_missing](known, axis=0)
        self.steps = [step(known) for step in steps]
        self.levels = {
            name: pd.Series(cells[rows]).value_counts().index[:MOST_LEVELS]
            for name, cells in words.items()
        }

    def __call__(self, rows):
        """The inputs of some rows, (rows, inputs)."""
        filled = np.where(np.isnan(numbers[rows]), self.fill, numbers[rows])
        parts = [step(filled) for step in self.steps]
        for name, levels in self.levels.items():
            places = levels.get_indexer(words[name][rows])  # -1, the last one, is unknown
            parts.append(np.eye(len(levels) + 1)[places][:, :-1])
        return torch.tensor(np.hstack(parts), dtype=torch.float32)
