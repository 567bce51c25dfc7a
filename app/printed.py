"""Makes foreign text safe for a terminal or a log: no control characters, no secrets."""

from __future__ import annotations

import re
from unicodedata import category

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MASK = "***"

# Up to the last @ of the word: passwords may hold an @ or a slash that should have been encoded.
USERINFO = re.compile(r"(?P<before>\w://[^\s:/@\"'<>]*:)[^\s\"'<>]*@")
# `?password=`, `&sslpassword=`, `password=` of libpq, `"secret": ` of a driver's options.
# Each word is looked at once, and what a part of the pattern has taken it keeps: a foreign text can
# be made of words that almost match.
PARAMETER = re.compile(
    r"(?P<before>(?<![\w.-])(?=[\w.-]*?(?:passw(?:or)?d|passwd|pwd|secret|token|api_?key|access_?key"
    r"|signature|credential|(?<=[?&])key))[\w.-]++[\"']?+\s*+(?:=|:\s)\s*+[\"']?+)[^\s&;,\"'<>]+",
    re.IGNORECASE,
)
# Whatever matches it has one of these, or a letter like the Kelvin sign that means one in ASCII.
KEYS = ("apikey", "api_key", "accesskey", "access_key", "?key", "&key")
WORDS = ("passw", "pwd", "secret", "token", "signature", "credential", *KEYS)


def printable(text: str, kept: str = "\n\t") -> str:
    """Replace every control character except those in `kept` by the replacement character.

    Control characters are here the C0 and C1 controls, which start ESC, CSI and OSC sequences,
    marks that change the direction of text (https://trojansource.codes), zero-width characters,
    line separators, and unassigned code points.

    >>> printable("ames\\x1b[2J\\u202e.csv")
    'ames�[2J�.csv'
    """
    if text.isprintable():
        return text
    return "".join(one if _is_shown(one) or one in kept else REPLACEMENT for one in text)


def redacted(text: str) -> str:
    """Mask the passwords and keys of addresses in a text.

    >>> redacted("s3://KEY:SECRET@bucket, redis://host/0?password=abc&db=1")
    's3://KEY:***@bucket, redis://host/0?password=***&db=1'
    """
    if "@" in text:
        text = USERINFO.sub(rf"\g<before>{MASK}@", text)
    lowered = text.lower()
    if text.isascii() and not any(word in lowered for word in WORDS):
        return text  # most lines: the pattern takes as long as all else of a line
    return PARAMETER.sub(rf"\g<before>{MASK}", text)


def _is_shown(character: str) -> bool:
    # `isprintable` is false for every space except the ordinary one.
    return character.isprintable() or category(character) == "Zs"
