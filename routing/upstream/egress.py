"""Decide which network addresses the gateway may connect to: one policy, checked when a socket is made.

A name is resolved once and every address is checked right before `connect`, so that neither an odd way to
write an address nor a second DNS answer can lead elsewhere.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
# All of IPv6 that is routed between networks (RFC 4291, 2.4). The deprecated forms outside it, such as
# ::127.0.0.1 or site-local fec0::/10, count as global in Python's tables.
_IPV6_UNICAST = ipaddress.ip_network("2000::/3")


class ForbiddenAddress(OSError):
    """The policy refuses this address; the message names it."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"the egress policy refuses the address {address}")


def check_address(text: str, *, allow_private: bool) -> None:
    """Raise ForbiddenAddress unless this IP address may be connected to."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise ForbiddenAddress(text) from None
    for meant in (address, _embedded_ipv4(address)):
        if meant is not None and not _is_allowed(meant, allow_private=allow_private):
            raise ForbiddenAddress(text)


def _is_allowed(address: Address, *, allow_private: bool) -> bool:
    """Allow public addresses, loopback and private ones on request, never link-local (cloud metadata)."""
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if address.is_loopback:
        return allow_private
    if isinstance(address, ipaddress.IPv6Address) and _embedded_ipv4(address) is not None:
        return True  # judged by the IPv4 address inside it
    if address.is_global and (address.version == 4 or address in _IPV6_UNICAST):
        return True
    return allow_private and address.is_private


def _embedded_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    """Find the IPv4 address an IPv6 one stands for: mapped, NAT64, 6to4 or Teredo."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo is not None else None
    return address.ipv4_mapped or address.sixtofour or teredo


AddressInfo = tuple[int, int, int, str, tuple[str | int, ...]]


def socket_factory(*, allow_private: bool) -> Callable[[AddressInfo], socket.socket]:
    """Make what an HTTP client calls for each address it is about to connect to."""

    def create(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        check_address(str(address[0]), allow_private=allow_private)
        return socket.socket(family, kind, protocol)

    return create
