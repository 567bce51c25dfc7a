# %% [markdown]
# ## Dataset and DataLoader
#
# A `Dataset` knows how many rows there are and how to get some of them. A `DataLoader` shuffles
# them anew in each epoch and hands them out in batches. Each batch gives one step: its gradient is
# a noisy estimate of that of all rows, and much cheaper.
#
# The sampler picks a whole batch of row numbers at once. Tables are small enough to index in one
# go, which is far faster than fetching row by row.

# %%
class Rows(Dataset):
    """Inputs and targets of some rows."""

    def __init__(self, x, targets):
        self.x, self.targets = x, targets

    def __len__(self):
        return len(self.x)

    def __getitem__(self, places):
        return self.x[places], self.targets[places]


def loader(rows):
    # Batch normalisation cannot learn from a batch of one row.
    drops_last = len(rows) > batch_size and len(rows) % batch_size == 1
    sampler = BatchSampler(RandomSampler(rows), batch_size, drop_last=drops_last)
    return DataLoader(rows, sampler=sampler, batch_size=None)
