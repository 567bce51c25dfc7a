"""Which addresses a webhook may reach.

A name that resolves to a private address would let users send requests into this network (SSRF).
So the check is made on the address itself, at each attempt, and the connection goes to the very
address that was checked: a name may resolve to another one a moment later (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class Unreachable(Exception):
    """The message says why."""


def is_public(address: Address) -> bool:
    """Whether an address is on the internet, and so are the ones that it stands for."""
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in NAT64:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(is_public(one) for one in inner if one is not None):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast


def refusal(host: str) -> str | None:
    """Why a host cannot be reached, as far as it is known without resolving its name."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return f"{host} is this machine"
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return None if is_public(address) else f"{address} is not a public address"


async def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """An address of the host. All that it has must be public, unless private ones are allowed.

    Raises
    ------
    Unreachable
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"the name {host} cannot be resolved: {error}") from None
    addresses = [str(info[4][0]) for info in found]
    if not allow_private:
        for address in addresses:
            if not is_public(ip_address(address.partition("%")[0])):
                raise Unreachable(f"{host} resolves to {address}, which is not a public address")
    return addresses[0]
