"""Names of hosts, as a `Host` header, an `Origin` or a setting has them."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

LONGEST_NAME = 253  # characters, RFC 1035
NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")

Authority = tuple[str, int | None]


def authority(text: str) -> Authority:
    """The name and the port of `name`, `name:port` or `[address]:port`; raises ValueError.

    >>> authority("Localhost:8000"), authority("[::1]"), authority("houses.example.")
    (('localhost', 8000), ('::1', None), ('houses.example', None))
    """
    parts = urlsplit(f"//{text}")
    if parts.netloc != text or "@" in text or parts.hostname is None:
        raise ValueError(f"must be a host's name or address, got {text!r}")
    return host_name(parts.hostname), parts.port


def host_name(text: str) -> str:
    """A name or an address without a port, in one spelling of the several that mean the same.

    Raises
    ------
    ValueError
    """
    name = text.strip().lower().removesuffix(".")
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        if len(name) <= LONGEST_NAME and NAME.fullmatch(name):
            return name
        raise ValueError(
            f"must be a host's name or address without scheme and port, got {text!r}"
        ) from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def is_loopback(name: str) -> bool:
    """Whether a name in the spelling of `host_name` is this machine's own."""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
