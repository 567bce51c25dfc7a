# %% [markdown]
# Two columns say where a row lies. The network also gets its distance along six axes between north
# and east: prices follow rivers and coasts, which seldom run along a degree of latitude.

# %%
of_numbers = [*steps]  # what is done with numbers is done with these too


class Turned:
    """Coordinates along turned axes."""

    def __init__(self, known):
        pair = known[:, coordinates]
        self.mean, self.deviation = np.nanmean(pair, axis=0), np.nanstd(pair, axis=0)
        self.steps = [step(self.turn(known)) for step in of_numbers]

    def turn(self, rows):
        angles = np.deg2rad([22.5, 45, 67.5, 112.5, 135, 157.5])
        scaled = (rows[:, coordinates] - self.mean) / np.where(self.deviation, self.deviation, 1)
        return scaled @ np.stack([np.cos(angles), np.sin(angles)])

    def __call__(self, filled):
        turned = self.turn(filled)
        return np.hstack([step(turned) for step in self.steps])


steps.append(Turned)
