"""List the models the sandbox offers, and decide which names it answers to."""

from gateway_project.lib.json import Json
from gateway_project.sandbox import faults

OFFERED = ("sandbox", "sandbox-mini")
# Answers well, but 404 on the routes beside generation, as a server that only speaks the protocol does.
BARE = "sandbox-bare"
CREATED = 1_767_225_600


def is_known(model: str) -> bool:
    """Accept any name, a vendor's too; only a fault must exist."""
    try:
        faults.of_model(model)
    except KeyError:
        return False
    return True


def listing(protocol: str) -> Json:
    if protocol == "anthropic":
        listed = [_anthropic(name) for name in OFFERED]
        ends = {"first_id": OFFERED[0], "last_id": OFFERED[-1]}
        return {"data": listed, "has_more": False, **ends}
    return {"object": "list", "data": [_openai(name) for name in OFFERED]}


def _openai(name: str) -> Json:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "sandbox"}


def _anthropic(name: str) -> Json:
    created = "2026-01-01T00:00:00Z"
    return {"type": "model", "id": name, "display_name": name, "created_at": created}
