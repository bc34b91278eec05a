"""Wrap a secret so that it cannot be printed, logged or serialised by accident."""

from __future__ import annotations

from typing import NoReturn

MASK = "***"


class Secret:
    """A string whose `repr`, `str` and formatting are `***`, and which refuses to be pickled.

    `reveal()` is the only way to the value, so every use can be found by name.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; call it only where it is put on the wire or into a cipher."""
        return self._value

    @property
    def last_four(self) -> str:
        """Return the last four characters for display; empty for values too short to spare them."""
        return self._value[-4:] if len(self._value) >= 12 else ""

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Secret cannot be pickled")
