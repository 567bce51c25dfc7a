# %% [markdown]
# ## The target
#
# A network with small random weights answers numbers near zero. So it does not learn prices in
# money: it learns how many standard deviations a row is above or below the mean of the training
# rows. With `target_transform = "log"` the logarithm is taken first. Then an error of 10 % counts
# the same for a cheap row and a dear one.
#
# The mean and the standard deviation come from the fold's training rows only. A prediction is
# turned back, and kept within half a range beyond what was seen in training: one wild cell can
# drive a linear layer anywhere.

# %%
y = as_numbers(target)
has_target = ~np.isnan(y)

LOSSES = {
    "squared_error": functional.mse_loss,
    "absolute_error": functional.l1_loss,
    "huber": functional.huber_loss,
}


class Target:
    """The target's scale, learnt from a fold's training rows."""

    outputs = 1

    def __init__(self, rows):
        known = self.transform(y[rows])
        self.mean, self.deviation = known.mean(), known.std() or 1.0
        lowest, highest = y[rows].min(), y[rows].max()
        if target_transform == "log":
            self.low, self.high = lowest / 1.5, highest * 1.5
        else:
            room = 0.5 * (highest - lowest)
            self.low, self.high = lowest - room, highest + room

    def transform(self, values):
        return np.log(values) if target_transform == "log" else values

    def standardize(self, rows):
        scaled = (self.transform(y[rows]) - self.mean) / self.deviation
        return torch.tensor(scaled, dtype=torch.float32)

    def loss(self, outputs, targets):
        return LOSSES[loss_name](outputs.squeeze(1), targets)

    watched_loss = loss

    def restore(self, outputs):
        values = outputs.squeeze(1).double().numpy() * self.deviation + self.mean
        values = np.exp(values) if target_transform == "log" else values
        return np.clip(values, self.low, self.high)
