"""The client's network address, seen through the proxies the operator trusts and no others."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache


def client_address(
    peer: Sequence[object] | None,
    headers: Iterable[tuple[bytes, bytes]],
    trusted_proxies: Sequence[str],
) -> str:
    """The peer's address, or what trusted proxies say in X-Forwarded-For, read from the right.

    `peer` is ASGI's (host, port). An entry counts only if every hop after it is trusted, because a
    client can put anything at the left end.
    """
    address = str(peer[0]) if peer else ""
    if not trusted_proxies or not _is_trusted(address, tuple(trusted_proxies)):
        return address
    forwarded = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    for hop in reversed([entry.strip() for entry in forwarded.decode("latin-1").split(",")]):
        if not hop:
            break
        address = hop
        if not _is_trusted(hop, tuple(trusted_proxies)):
            break
    return address


@lru_cache(maxsize=4096)
def _is_trusted(address: str, trusted_proxies: tuple[str, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(network) for network in trusted_proxies)
