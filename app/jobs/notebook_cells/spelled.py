# %% [markdown]
# Some columns are spelled in another way, such as `$1,200.50` or `31-Jul-2010`. What is read of
# them here is simpler than what the service does, and enough for one table.

# %%
import re
import unicodedata


def number_reader(decimal, grouping, powers):
    """Reads numbers with a currency, a unit or thousands marks."""

    def read(text):
        text = unicodedata.normalize("NFKC", text).replace("−", "-")
        digits = re.search(r"[0-9][0-9.,' ]*|[.,][0-9]+", text)
        if digits is None:
            return math.nan
        before, after = text[: digits.start()], text[digits.end() :].lstrip()
        plain = digits[0].strip(" ").rstrip(".,'")
        if grouping:
            plain = plain.replace(grouping, "")
        power = next((p for name, p in powers.items() if after.startswith(name)), 0)
        try:
            size = float(f"{plain.replace(decimal, '.')}e{power}")
        except ValueError:
            return math.nan
        is_negative = "-" in before or "(" in before or text.endswith("-")
        return -size if is_negative else size

    return read


def date_reader(day_first):
    """Reads dates with names of months, or with the day first."""

    def read(text):
        moment = pd.to_datetime(text, dayfirst=day_first, utc=True, errors="coerce")
        return moment.timestamp() if pd.notna(moment) else math.nan

    return read


for name, marks in spelled_numbers.items():
    READERS[name] = number_reader(*marks)
for name, day_first in spelled_dates.items():
    READERS[name] = date_reader(day_first)
