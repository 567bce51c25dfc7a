# %% [markdown]
# Rows of one group are alike. They stay together in these folds: a model is scored on groups that
# it never saw. *Early stopping* watches whole groups of the training rows, for the same reason.

# %%
groups = as_words(fold_column)


def split(k):
    """The rows of fold k: to train on, to watch, to score."""
    known = np.flatnonzero((fold >= 0) & (fold != k) & usable)
    names, sizes = np.unique(groups[known].astype(str), return_counts=True)
    order = np.random.default_rng(seed + k).permutation(len(names))
    wanted = np.cumsum(sizes[order]) <= watched_fraction * len(known)
    count = min(max(1, wanted.sum()), len(names) - 1) if watched_fraction else 0
    is_watched = np.isin(groups[known].astype(str), names[order[:count]])
    return known[~is_watched], known[is_watched], np.flatnonzero(fold == k)
