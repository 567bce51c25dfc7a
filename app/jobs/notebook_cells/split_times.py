# %% [markdown]
# The rows are in order of time. Each fold is scored by a model that saw only earlier rows, as it
# will be in use. *Early stopping* watches the latest of the training rows.

# %%
times = as_numbers(fold_column)


def split(k):
    """The rows of fold k: to train on, to watch, to score."""
    validation = np.flatnonzero(fold == k)
    known = np.flatnonzero(has_target & usable & (times < times[validation].min()))
    order = known[np.argsort(times[known], kind="stable")]
    count = max(1, round(watched_fraction * len(known))) if watched_fraction else 0
    cut = len(order) - count
    return order[:cut], order[cut:], validation
