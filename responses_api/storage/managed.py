"""State the rules for stored responses and conversations: they are read and removed, and who did is in the
audit log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Model

from responses_api.models import Conversation, StoredResponse
from responses_api.storage import removal
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.audit import events
from tenants.managed.resource import Resource, register


class Kept(Resource):
    area = Area.RESPONSES
    rights = frozenset({"view", "delete"})
    has_own_dependants = True
    OF_UPSTREAMS = frozenset({"provider"})
    kind: ClassVar[str]  # how events name such a row

    @transaction.atomic
    def record(self, verb: str, rows: Iterable[Any]) -> None:
        """Record that rows were read or deleted. The id alone: a name may be something that was said."""
        for row in rows:
            events.record(
                f"{self.kind}.{verb}",
                tenant_id=row.tenant_id,
                object_type=self.kind,
                object_id=row.pk,
                object_name=row.pk,
            )

    def record_listed(self, tenant_id: int, ids: Sequence[str]) -> None:
        """Record that the first words of these rows of a tenant, newest first, were read in a list."""
        events.record(
            f"{self.kind}.listed",
            tenant_id=tenant_id,
            object_type=self.kind,
            object_id=ids[0],
            object_name=ids[0],
            details={"rows": len(ids), "newest": ids[0], "oldest": ids[-1]},
        )

    def remove(self, who: Access, row: Any) -> None:
        self.remove_all([row])

    @transaction.atomic
    def remove_all(self, rows: Sequence[Any]) -> None:
        """Delete rows with all that is theirs."""
        self.record("deleted", rows)
        self.erase([row.pk for row in rows])

    def erase(self, ids: list[str]) -> None:
        """Delete the rows of these ids with all that is theirs, and say nothing of it."""
        raise NotImplementedError

    def hidden(self, who: Access, row: Model) -> frozenset[str]:
        shows = who.sees_upstreams_of(getattr(row, "tenant_id", None))
        return frozenset() if shows else self.OF_UPSTREAMS


class StoredResponseResource(Kept):
    model = StoredResponse
    kind = "response"

    def erase(self, ids: list[str]) -> None:
        removal.remove_responses(ids)


class ConversationResource(Kept):
    model = Conversation
    kind = "conversation"

    def erase(self, ids: list[str]) -> None:
        removal.remove_conversations(ids)


RESPONSES = StoredResponseResource()
CONVERSATIONS = ConversationResource()
register(RESPONSES)
register(CONVERSATIONS)
