# %% [markdown]
# ## The table
#
# Every cell is read as text first. What is a number, a date or a word was decided when the table
# was uploaded, and `stored_as` in the settings above has it.

# %%
def fetch(path):
    """What the service answers, as an open file."""
    request = urllib.request.Request(url + path, headers={"Accept": "text/csv"})
    with urllib.request.urlopen(request) as answer:
        return io.BytesIO(answer.read())


source = fetch(f"/v1/datasets/{dataset_id}/content")
# source = "table.csv"  # the same table, if you have it as a file

table = pd.read_csv(
    source,
    sep=separator,
    header=0,
    names=columns,
    index_col=False,
    dtype=str,
    keep_default_na=False,
    skipinitialspace=True,
)
table = table.fillna("").apply(lambda cells: cells.str.strip())
if len(table) != table_rows:
    raise ValueError(f"The service read {table_rows} rows, and pandas reads {len(table)}.")
table.head()

# %%
READERS = {}  # column names, and functions that read their texts


def as_numbers(name):
    """A column as numbers; missing cells are NaN, and dates are seconds since 1970."""
    texts = table[name]
    if name in READERS:
        return np.array([READERS[name](text) for text in texts])
    if stored_as[name] == "datetime":
        moments = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
        return (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
    values = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
    return np.where(np.isinf(values), np.nan, values)


def as_words(name):
    """A column as words; a missing cell is the empty word, a level of its own."""
    if stored_as[name] == "number":  # 60 and 60.0 are one level
        texts = [str(int(v)) if v.is_integer() else str(v) for v in as_numbers(name).tolist()]
        return np.array(["" if text == "nan" else text for text in texts], object)
    texts = table[name]
    return texts.where(~texts.isin(missing_words), "").to_numpy(object)
