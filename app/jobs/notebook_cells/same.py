# %% [markdown]
# ## Is it the same?
#
# The error is computed once, from the predictions of all folds together. Other random numbers give
# other networks, so it differs from the job's a little. The *standard error* says how much such a
# number would vary with other rows: a difference well below it means nothing.

