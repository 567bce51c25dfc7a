# %% [markdown]
# ## Preprocessing
#
# A network multiplies and adds. A column in square metres and one in millions must come to it in
# one scale, or the large one drowns the other.
