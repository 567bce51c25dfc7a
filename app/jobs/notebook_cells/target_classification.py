# %% [markdown]
# ## The target
#
# The network has one output for each class. *Softmax* turns the outputs into probabilities, and
# *cross-entropy* is the loss: minus the logarithm of the probability that the true class got. A
# confident wrong answer costs a lot, a hesitant one little.

# %%
labels = as_words(target)
has_target = labels != ""
rows_of_class = pd.Series(labels[has_target]).value_counts()
if rare_classes == "merge":  # classes with fewer rows than there are folds
    rare = rows_of_class.index[rows_of_class < fewest_class_rows]
    labels = np.where(np.isin(labels, rare), "(other)", labels)
levels = sorted(set(labels[has_target]))
y = pd.Categorical(labels, categories=levels).codes.astype(np.int64)


class Target:
    """The classes, and how much each of them counts in the loss."""

    def __init__(self, rows):
        self.outputs = len(levels)
        counts = np.bincount(y[rows], minlength=len(levels))
        if class_weights == "balanced":
            weights = np.where(counts > 0, 1 / np.maximum(counts, 1), 0)
        else:
            weights = np.array([(class_weights or {}).get(level, 1.0) for level in levels])
        weights = weights * counts.sum() / (weights * counts).sum()
        self.weights = torch.tensor(weights, dtype=torch.float32)

    def standardize(self, rows):
        return torch.tensor(y[rows])

    def loss(self, outputs, classes):
        losses = functional.cross_entropy(
            outputs, classes, reduction="none", label_smoothing=label_smoothing
        )
        return (losses * self.weights[classes]).mean()

    def watched_loss(self, outputs, classes):
        return functional.cross_entropy(outputs, classes)

    def restore(self, outputs):
        return torch.softmax(outputs.double(), 1).numpy()
