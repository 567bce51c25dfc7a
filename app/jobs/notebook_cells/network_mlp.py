# %% [markdown]
# ## The network
#
# A *perceptron* is one weighted sum. A *multilayer perceptron* stacks them: each hidden unit sums
# up its inputs, an *activation* bends the sum, and the next layer sums up the bent ones. Without
# the activation all layers together would be one linear map.
#
# *Dropout* zeroes hidden units at random during training and enlarges the others to make up for it.
# No unit can rely on another one, so the network cannot learn rows by heart so easily. In
# prediction (`network.eval()`) all units work.

# %%
class Network(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        sizes = [inputs, *hidden_sizes]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(normalization(units) for units in hidden_sizes)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(sizes[-1], outputs)
        self.line = nn.Linear(inputs, outputs) if linear_path else None
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                initialize(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        hidden = x
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            hidden = self.dropout(activate(norm(layer(hidden))))
        output = self.output(hidden)
        return output if self.line is None else output + self.line(x)
