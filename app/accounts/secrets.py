"""The text of API keys, made as GitHub makes its tokens.

    fh_e 3Jd0…32 characters…Yk 0aZ91x
    │  │ │                     └ CRC-32 of all before it, base 62
    │  │ └ random, base 62: 190 bits
    │  └ the role's first letter
    └ so that a search for leaked secrets finds it

The checksum lets a scanner, and this service, tell a mistyped key without a look-up. See
https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

from app.grants import ROLES, Role

PREFIX = "fh_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM, CHECKSUM = 32, 6  # characters
LENGTH = len(PREFIX) + 1 + RANDOM + CHECKSUM
SHOWN = len(PREFIX) + 1 + 4  # characters by which a list names a key


def new_key(role: Role) -> str:
    body = PREFIX + role[0] + random_text(RANDOM)
    return body + _checksum(body)


def is_key(text: str) -> bool:
    """Whether it has the form of a key, which says nothing of whether there is one."""
    return (
        len(text) == LENGTH
        and text.isascii()
        and text.startswith(tuple(PREFIX + role[0] for role in ROLES))
        and text[-CHECKSUM:] == _checksum(text[:-CHECKSUM])
    )


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def digest(secret: str) -> str:
    """What is stored of a secret. With 190 random bits it needs neither salt nor a slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(text: str) -> str:
    """
    >>> _checksum("fh_e")
    '2DclOh'
    """
    number = zlib.crc32(text.encode())
    found = ""
    for _ in range(CHECKSUM):
        number, digit = divmod(number, len(ALPHABET))
        found = ALPHABET[digit] + found
    return found
