# %%
numbers = np.array([as_numbers(name) for name in numeric]).reshape(len(numeric), len(table)).T
words = {name: as_words(name) for name in categorical}
numbers.shape, len(words)
