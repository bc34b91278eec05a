"""The client's network address, seen through the proxies the operator trusts and no others."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from gateway_project.lib.hosts import Network

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_REMEMBERED = 4096
# What one customer is given, and so as easily changed as a single address of IPv4.
IPV6_NETWORK_BITS = 64


class TrustedProxies:
    """The networks of the operator's proxies. Falsy when there are none."""

    __slots__ = ("_networks", "_remembered")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._remembered: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Tell whether the forwarding headers of this peer are to be believed."""
        remembered = self._remembered.get(address)
        if remembered is None:
            parsed = parse(address)
            remembered = parsed is not None and any(parsed in network for network in self._networks)
            if len(self._remembered) < MAX_REMEMBERED:
                self._remembered[address] = remembered
        return remembered


NOBODY = TrustedProxies()


def client_address(
    peer: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]], trusted: TrustedProxies
) -> str:
    """Return the peer's address, or the one trusted proxies report in X-Forwarded-For, read from the
    right.

    `peer` is ASGI's (host, port). An entry counts only if every hop after it is trusted, because a client
    can put anything at the left end. An entry that is not an address (`unknown`) is not believed: the hop
    that wrote it then counts as the client.
    """
    address = str(peer[0]) if peer else ""
    if not trusted or not trusted.trusts(address):
        return address
    forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    for entry in reversed(forwarded.decode("latin-1").split(",")):
        hop = _without_port(entry.strip())
        if parse(hop) is None:
            break
        address = hop
        if not trusted.trusts(hop):
            break
    return address


def network_of(address: str) -> str:
    """Return the key under which an address is counted: the address itself, or its /64 for IPv6."""
    parsed = parse(address)
    if parsed is None:
        return address  # of a Unix socket, or nothing
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))


@lru_cache(MAX_REMEMBERED)
def parse(text: str) -> IPAddress | None:
    """Parse an address, unwrapping IPv4 that a dual-stack socket wrote as IPv6. Return None for anything
    else.
    """
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped: ipaddress.IPv4Address | None = getattr(parsed, "ipv4_mapped", None)
    return mapped or parsed


def _without_port(entry: str) -> str:
    """Strip the port: some proxies write 192.0.2.7:4711 or [2001:db8::1]:4711."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
