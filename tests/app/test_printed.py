"""What is left of the text of others when it is printed or logged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.csv_text import neutral
from app.printed import PARAMETER, USERINFO, printable, redacted

COMMANDS = (
    "\x00\x07\x08\r\x1b\x7f\x85\x9b\x9d\u061c\u200b\u200f\u2028\u202a\u202e\u2060\u2066\u2069\ufeff"
)
HARMLESS = "Größe m² 1\u00a0200\u3000東京 é 👩 −5 – „x“"

REDACTED = {
    "postgresql+psycopg://me:secret@db/none": "postgresql+psycopg://me:***@db/none",
    "postgresql+psycopg://me:a@b/c:d@db/none": "postgresql+psycopg://me:***@db/none",
    "postgresql://db/none?user=me&password=secret": "postgresql://db/none?user=me&password=***",
    "cannot connect: host=db password=secret user=me": (
        "cannot connect: host=db password=*** user=me"
    ),
    "s3://KEY:secret@bucket/prefix": "s3://KEY:***@bucket/prefix",
    "s3://bucket?aws_secret_access_key=secret": "s3://bucket?aws_secret_access_key=***",
    "{'secret': 'secret', 'anon': False}": "{'secret': '***', 'anon': False}",
    "redis://:secret@a/0, redis://b/0?password=secret": "redis://:***@a/0, redis://b/0?password=***",
}
UNTOUCHED = ["http://127.0.0.1:8000/docs, me@db", "sqlite:////data/a.sqlite", "s3://bucket/prefix"]


def test_only_what_a_terminal_would_obey_is_replaced() -> None:
    assert printable(COMMANDS) == "�" * len(COMMANDS)
    assert printable(HARMLESS) == HARMLESS
    assert printable("a\n\tb") == "a\n\tb"
    assert printable("a\nb", kept="") == "a�b"


def test_secrets_of_addresses_are_masked() -> None:
    for text, shown in REDACTED.items():
        assert redacted(text) == shown
    for text in UNTOUCHED:
        assert redacted(text) == text


WORDS = "pass w d pwd SECRET to ken api access _ key KEY ? & = : signature Credential x . ' \xdf"
# Letters that mean another in ASCII, if case is ignored.
ODD = "\u017fecret to\u212aen s\u0131gnature ap\u0130_key a://b:c@d"
PIECES = st.sampled_from([*WORDS.split(), *ODD.split(), " "])


@given(st.lists(PIECES, max_size=12).map("".join))
def test_the_quick_look_passes_no_secret(text: str) -> None:
    """A line without any of the words is not searched with the pattern."""
    assert redacted(text) == PARAMETER.sub(r"\g<before>***", USERINFO.sub(r"\g<before>***@", text))


@pytest.mark.parametrize("sign", "=+-@＝＋－＠﹦﹢﹣﹫")
def test_formulas_are_neutral_behind_what_is_not_seen(sign: str) -> None:
    for blank in (
        "",
        " ",
        "  ",
        "\n",
        "\v",
        "\f",
        "\r",
        "\t",
        "\0",
        "\ufeff",
        "\xa0",
        "\u3000",
        "\u200b",
    ):
        text = f"{blank}{sign}cmd()"
        assert neutral(text) == f"'{text}"
    for broken in ("\ta", "\na", "\va", "\ra"):
        assert neutral(broken) == f"'{broken}"


def test_numbers_and_words_stay_as_they_are() -> None:
    for text in ("-5", "+5.2e3", " -5 ", "-.5", "a=1", "", " ", "me@home", "−5", "1-2", "\ufeffa"):
        assert neutral(text) == text


@pytest.mark.parametrize("word", ["pwd.", "token-", "a.", "a://"])
def test_words_that_almost_match_are_no_work(word: str) -> None:
    """A pattern that tries every part of them takes hours."""
    text = word * 2_000
    assert redacted(text) == text
