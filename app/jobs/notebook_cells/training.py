# %% [markdown]
# ## Training
#
# In each step the loss of a batch is computed, `backward` finds how it changes with each weight,
# and the optimiser moves the weights a little against it.
#
# *Weight decay* pulls every weight towards zero by a share of itself. Large weights make curves
# that wind through single rows. It is *decoupled*: it does not go through the gradient, which Adam
# would rescale. Biases only shift, so they are left out.
#
# With early stopping, the weights of the best epoch are kept, and training ends after `patience`
# epochs without a better one.

# %%
def train(rows, watched, member):
    """One network of a fold, and the preprocessing and the target's scale that belong to it."""
    torch.manual_seed(member)
    preprocessing, scale = Preprocessing(rows), Target(rows)
    data = Rows(preprocessing(rows), scale.standardize(rows))
    watched_x, watched_targets = preprocessing(watched), scale.standardize(watched)

    network = Network(data.x.shape[1], scale.outputs)
    if starts_at_the_line:
        weight, bias = best_line(data.x, data.targets)
        with torch.no_grad():
            if hidden_sizes:
                network.output.weight.zero_()
            network.line.weight.copy_(weight)
            network.line.bias.copy_(bias)

    optimizer = optimizer_of(network.parameters())
    weights = [layer.weight for layer in network.modules() if isinstance(layer, nn.Linear)]
    best_loss, best_epoch, best = math.inf, 0, network.state_dict()
    for epoch in range(1, max_epochs + 1):
        network.train()
        batches = loader(data)
        for number, (x, targets) in enumerate(batches):
            progress = (epoch - 1 + number / len(batches)) / max_epochs
            rate = learning_rate * rate_factor(progress)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            scale.loss(network(x), targets).backward()
            if gradient_clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), gradient_clip)
            with torch.no_grad():
                for weight in weights:
                    weight.mul_(1 - rate * weight_decay)
            optimizer.step()
        if len(watched) == 0:
            continue
        network.eval()
        with torch.no_grad():
            watched_loss = scale.watched_loss(network(watched_x), watched_targets).item()
        if watched_loss < best_loss:
            best_loss, best_epoch = watched_loss, epoch
            best = {name: value.clone() for name, value in network.state_dict().items()}
        if epoch - best_epoch >= patience:
            break
    network.load_state_dict(best)
    network.eval()
    return network, preprocessing, scale, epoch
