# %% [markdown]
# This network does not start from random weights: its linear layer starts from the best line
# through the training rows, and any layers beside it from an output of zero. Training goes on from
# there.
