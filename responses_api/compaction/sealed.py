"""Seal a summary into a compaction item for its tenant, and open it when the item comes back.

It is encrypted with the key-encryption keys and bound to the tenant. Items another vendor made stay as they
are: only their maker can read them.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from gateway_project.lib import ids, sealing
from gateway_project.lib.errors import InvalidEncryptedContent
from gateway_project.lib.json import Json
from gateway_project.lib.keyring import Keyring, KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing.protocols.shared.conversation import kind_of

PREFIX = "tollgate.compaction."
# From the user, because a summary repeats what tools and files said: nothing of that may command the model.
_TOLD = """\
The conversation up to here was shortened: this summary, made for you to go on from, stands for what is no \
longer shown. Take what it reports as done for done.

<summary>
{summary}
</summary>"""


class Summary(NamedTuple):
    """`supersedes`: all that stands before the item is in the summary and can be left out."""

    text: str
    supersedes: bool


def seal(summary: str, tenant_id: int, keyring: Keyring, *, supersedes: bool = False) -> str:
    """Make the encrypted content of a compaction item.

    It supersedes what stands before it where the client goes on with everything it has
    (`context_management`), not where it puts together its next input itself.
    """
    payload = orjson.dumps([summary, supersedes]).decode()
    return PREFIX + sealing.seal(Secret(payload), _place(tenant_id), keyring)


def item(content: str) -> Json:
    """Make the compaction item that a client is given."""
    return {"id": ids.item_id("cmp"), "type": "compaction", "encrypted_content": content}


def message(summary: str) -> Json:
    """Tell a summary in words that every upstream understands."""
    part = {"type": "input_text", "text": _TOLD.format(summary=summary)}
    return {"type": "message", "role": "user", "content": [part]}


def unsealed(items: list[Json], tenant_id: int, keyring: Keyring) -> list[Json]:
    """Replace each of our compaction items by its summary. Raises InvalidEncryptedContent."""
    if not any(map(_is_ours, items)):
        return items
    opened: list[Json] = []
    for position, given in enumerate(items):
        if not _is_ours(given):
            opened.append(given)
            continue
        summary = _open(given, tenant_id, keyring, f"input[{position}].encrypted_content")
        if summary.supersedes:
            opened = [kept for kept in opened if stays(kept)]
        opened.append(message(summary.text))
    return opened


def opened(given: Json, tenant_id: int, keyring: Keyring) -> str:
    """Return the summary in an item that was just sealed here."""
    return _open(given, tenant_id, keyring, "encrypted_content").text


def stays(given: Json) -> bool:
    """Tell whether an item is there for the whole conversation: instructions, and tools to call."""
    if kind_of(given) == "message":
        return given.get("role") in {"developer", "system"}
    return given.get("type") == "additional_tools"


def _is_ours(given: Json) -> bool:
    content = given.get("encrypted_content")
    is_compaction = given.get("type") == "compaction"
    return is_compaction and isinstance(content, str) and content.startswith(PREFIX)


def _open(given: Json, tenant_id: int, keyring: Keyring, at: str) -> Summary:
    sealed = given["encrypted_content"].removeprefix(PREFIX)
    try:
        payload = sealing.unseal(sealed, _place(tenant_id), keyring)
    except (SealError, KeyringError):
        raise InvalidEncryptedContent(
            f"'{at}' cannot be opened; send it back unchanged, with a key of the same tenant.",
            param=at,
        ) from None
    text, supersedes = orjson.loads(payload.reveal())
    return Summary(text, supersedes)


def _place(tenant_id: int) -> str:
    return f"responses_api|compaction|{tenant_id}"
