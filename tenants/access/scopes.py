"""Write permissions as the scopes of a token: their names, with `*` for any, as in `keys.*` or `*.view`."""

from __future__ import annotations

from collections.abc import Iterable

from tenants.access.rights import EVERYTHING, RIGHTS, Area, Permissions, name_of, read_names

ALL = "*"


def permissions_of(scopes: Iterable[str]) -> Permissions:
    """Return what the scopes stand for. Raise ValueError for one that stands for nothing."""
    return frozenset().union(*(_permissions(scope) for scope in scopes))


def _permissions(scope: str) -> Permissions:
    if scope == ALL:
        return EVERYTHING
    found = _WILD.get(scope) or read_names([scope])
    if not found:
        raise ValueError(
            f"{scope!r} is not a scope; write AREA.RIGHT, * for any. Areas: "
            f"{', '.join(each.value for each in Area)}. Rights: {', '.join(RIGHTS)}."
        )
    return found


def scopes_of(permissions: Permissions) -> list[str]:
    """Return permissions as scopes, each by its name."""
    return sorted(map(name_of, permissions))


_WILD = {
    **{f"{area}.*": frozenset((area, right) for right in RIGHTS) for area in Area},
    **{f"*.{right}": frozenset((area, right) for area in Area) for right in RIGHTS},
}
