# %% [markdown]
# ## Initial weights
#
# If all weights started equal, all hidden units would get the same gradient and stay equal. So they
# start at random. How large matters: with each layer the numbers grow or shrink by a factor, and so
# do the gradients on the way back. Xavier's and Kaiming's rules choose the size from the width of
# the layer so that the factor is about 1.

