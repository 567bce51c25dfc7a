# %% [markdown]
# Here each number becomes (x − median) / interquartile range. A few wild cells move neither of the
# two. What is still far away is then bent smoothly to within ±3.

# %%
class Scaling:
    """Learnt from the numbers of a fold's training rows, NaN where a cell is missing."""

    def __init__(self, known):
        quartiles = np.nanquantile(known, [0.25, 0.5, 0.75], axis=0).reshape(3, known.shape[1])
        self.center, self.scale = quartiles[1], quartiles[2] - quartiles[0]
        for column in np.flatnonzero(self.scale == 0):  # mostly one value: no pool, no porch
            away = np.abs(known[:, column] - self.center[column])
            away = away[away > 0]
            self.scale[column] = np.median(away) if len(away) else np.inf

    def __call__(self, filled):
        z = (filled - self.center) / self.scale
        return z / np.sqrt(1 + (z / 3) ** 2)


steps = [Scaling]  # what is done with the numbers of a row
