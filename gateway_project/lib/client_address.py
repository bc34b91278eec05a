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
    """The networks of the operator's proxies. False where there are none."""

    __slots__ = ("_networks", "_remembered")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._remembered: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether what this peer says of others is believed."""
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
    """The peer's address, or what trusted proxies say in X-Forwarded-For, read from the right.

    `peer` is ASGI's (host, port). An entry counts only if every hop after it is trusted, because a
    client can put anything at the left end. What is not an address (`unknown`) is not believed: the client
    then counts as the hop that wrote it.
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
    """Whom an address stands for where addresses are counted: itself, or the /64 of one of IPv6."""
    parsed = parse(address)
    if parsed is None:
        return address  # of a Unix socket, or nothing
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))


@lru_cache(MAX_REMEMBERED)
def parse(text: str) -> IPAddress | None:
    """The address, one of IPv4 also where a dual-stack socket writes it as IPv6; None if it is none."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped: ipaddress.IPv4Address | None = getattr(parsed, "ipv4_mapped", None)
    return mapped or parsed


def _without_port(entry: str) -> str:
    """Some proxies write 192.0.2.7:4711 or [2001:db8::1]:4711."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
