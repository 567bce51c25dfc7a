# %%
is_scored = fold >= 0
actual, predicted = y[is_scored], predictions[is_scored]
ERRORS = {
    "rmse": lambda: predicted - actual,
    "rmsle": lambda: np.log1p(predicted) - np.log1p(actual),
    "rmse_log": lambda: np.log(predicted) - np.log(actual),
}
error = float(np.sqrt(np.mean(ERRORS[metric]() ** 2)))
