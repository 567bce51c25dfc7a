# %% [markdown]
# *Early stopping* needs rows too: it watches the loss on some of them and stops when it no longer
# falls. They are taken from the training rows. If it watched the scored rows, the score would be
# of the very rows that chose the model.

# %%
def split(k):
    """The rows of fold k: to train on, to watch, to score."""
    known = np.flatnonzero((fold >= 0) & (fold != k) & usable)
    order = np.random.default_rng(seed + k).permutation(known)
    count = max(1, round(watched_fraction * len(known))) if watched_fraction else 0
    return order[count:], order[:count], np.flatnonzero(fold == k)
