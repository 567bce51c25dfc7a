# %% [markdown]
# ## All folds
#
# The job trains all of these networks at once, as one tensor program. Here they train one after
# the other. The predictions of each fold's rows go to their places in one array.

# %%
predictions = None
for k in range(fold.max() + 1):
    rows, watched, validation = split(k)
    found = []
    for member in range(members_per_fold):
        network, preprocessing, scale, epochs = train(rows, watched, seed + 1_000 * member + k)
        with torch.no_grad():
            found.append(scale.restore(network(preprocessing(validation))))
    if predictions is None:
        predictions = np.full((len(table), *found[0].shape[1:]), np.nan)
    predictions[validation] = np.mean(found, axis=0)
    print(f"fold {k}: {len(rows)} rows trained on, {len(validation)} scored, {epochs} epochs")
