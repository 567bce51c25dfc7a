# %%
is_scored = fold >= 0
actual, predicted = y[is_scored], predictions[is_scored]
of_truth = np.take_along_axis(predicted, actual[:, None], 1)[:, 0]
error = float(-np.log(np.maximum(of_truth, 1e-15)).mean())
print(f"accuracy {np.mean(predicted.argmax(1) == actual):.4f}")
