# %% [markdown]
# The job's spec says `numeric_scaling = "none"`: numbers come to the network as they are. Try what
# happens if you divide each of them by its standard deviation.

# %%
class Scaling:
    """Learns nothing."""

    def __init__(self, known):
        pass

    def __call__(self, filled):
        return filled


steps = [Scaling]  # what is done with the numbers of a row
