"""Judge whose failures they are, so that nobody opens a circuit for others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class CallerId(NamedTuple):
    """Name the tenant and the key that a call was made with."""

    tenant_id: int
    key_id: int


def speak_for_all(failed: Iterable[CallerId], present: Iterable[CallerId]) -> bool:
    """Return whether the callers whose calls `failed` speak for all that were `present`.

    Failures of two tenants do. Those of one do only where it is alone, and then those of two of its keys,
    or of the only key in use. In a real outage everybody's calls fail, so this delays nothing: another
    caller who is present either fails too or succeeds.
    """
    failing = set(failed)
    tenants = {each.tenant_id for each in failing}
    if len(tenants) > 1:
        return True
    everybody = failing.union(present)
    if {each.tenant_id for each in everybody} != tenants:
        return False
    return len(failing) > 1 or everybody == failing
