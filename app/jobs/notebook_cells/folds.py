# %% [markdown]
# ## The folds
#
# A model that is scored on rows it learnt from only shows how well it remembers. *k-fold
# cross-validation* splits the rows into k parts and trains k models. Each model is scored on the
# one part that it never saw, so that every row gets exactly one honest prediction.
#
# These are the job's own folds: they come from its out-of-fold predictions.

# %%
scored = pd.read_csv(fetch(f"/v1/jobs/{job_id}/oof"), usecols=["row", "fold"])
fold = np.full(len(table), -1)  # -1: a row without a target, or of the holdout
fold[scored["row"]] = scored["fold"]
has_all_numbers = ~np.isnan(numbers).any(axis=1)
usable = has_all_numbers | (numeric_missing != "drop_rows")
scored["fold"].value_counts().sort_index()
