"""Parse host names, origins and networks as operators write them, and decide which Host headers are ours."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(
    r"\.?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?\Z"
)
_PORT = re.compile(r":\d+\Z")
# A Host header longer than any name is refused without being remembered.
MAX_HOST_BYTES = 300
MAX_REMEMBERED = 1024


def network(text: str) -> Network:
    """Parse one network or address. Raises ValueError with what to write instead."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        covering = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a network; write addresses such as 10.0.0.0/8 or 192.0.2.7, not names."
        ) from None
    address = text.partition("/")[0]
    raise ValueError(
        f"{text!r} is not a network; write {covering} or the single address {address}."
    )


def host_name(text: str) -> str:
    """Check a name that a Host header may hold: a name, `.domain` for all below it, an address or `*`.

    Raise ValueError with what to write instead.
    """
    if text == "*" or _is_address(text) or _NAME.match(text):
        return text
    if ":" in text and _is_address(f"[{text}]"):
        raise ValueError(f"{text!r} must be written in brackets: [{text}].")
    bare = urlsplit(text).netloc if "://" in text else text.partition("/")[0]
    bare = _PORT.sub("", bare.rpartition("@")[2])
    hint = f" such as {bare!r}" if bare != text and (_NAME.match(bare) or _is_address(bare)) else ""
    raise ValueError(
        f"{text!r} is not a host name; write the name alone{hint}, without scheme, port and path."
    )


def origin(text: str) -> str:
    """Check an origin, `https://name[:port]`; the name may begin with `*.`. Raise ValueError."""
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in {"http", "https"} and parts.port != 0 and not parts.username
        name = (parts.hostname or "").removeprefix("*.")
        is_good = is_good and bool(
            _NAME.match(name) or _is_address(name) or _is_address(f"[{name}]")
        )
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError(f"{text!r} is not an origin; write it like https://gateway.example.com.")
    if parts.path or parts.query or parts.fragment:
        wanted = f"{parts.scheme}://{parts.netloc}"
        raise ValueError(f"{text!r} is an address with a path; write its origin alone, {wanted}.")
    return text


def _is_address(text: str) -> bool:
    """Tell whether it is an address as a Host header writes it: IPv6 in brackets."""
    is_bracketed = text.startswith("[") and text.endswith("]")
    try:
        parsed = ipaddress.ip_address(text[1:-1] if is_bracketed else text)
    except ValueError:
        return False
    return is_bracketed == (parsed.version == 6)


class AllowedHosts:
    """Applies the rules of Django's ALLOWED_HOSTS to Host headers, and caches its decisions."""

    __slots__ = ("_decided", "_exact", "_suffixes", "_takes_all")

    def __init__(self, allowed: Iterable[str]) -> None:
        names = [name.lower() for name in allowed]
        self._takes_all = "*" in names
        self._exact = {name.removeprefix(".").rstrip(".") for name in names}
        self._suffixes = tuple(name.rstrip(".") for name in names if name.startswith("."))
        self._decided: dict[bytes, bool] = {}

    def allows(self, value: bytes) -> bool:
        """Tell whether we answer to this Host header."""
        decided = self._decided.get(value)
        if decided is None:
            decided = self._decide(value)
            if len(self._decided) < MAX_REMEMBERED:
                self._decided[value] = decided
        return decided

    def _decide(self, value: bytes) -> bool:
        if len(value) > MAX_HOST_BYTES:
            return False
        name = _PORT.sub("", value.decode("latin-1")).lower()
        if not (_is_address(name) or _NAME.match(name)) or name.startswith("."):
            return False
        name = name.removesuffix(".")
        return self._takes_all or name in self._exact or name.endswith(self._suffixes or ("\0",))
