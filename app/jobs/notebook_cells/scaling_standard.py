# %% [markdown]
# Here each number becomes (x − mean) / standard deviation.

# %%
class Scaling:
    """Learnt from the numbers of a fold's training rows, NaN where a cell is missing."""

    def __init__(self, known):
        self.mean = np.nanmean(known, axis=0)
        deviation = np.nanstd(known, axis=0)
        self.deviation = np.where(deviation > 0, deviation, np.inf)  # no variation: all zeros

    def __call__(self, filled):
        return (filled - self.mean) / self.deviation


steps = [Scaling]  # what is done with the numbers of a row
