"""Export the audit log as JSON Lines. Each line can be verified by itself, and all of a chain together
(docs/audit.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator

from asgiref.sync import sync_to_async

from tenants.audit import chain, values
from tenants.models import AuditChain, AuditEvent
from tenants.models.audit import PLATFORM
from tenants.reports import audit as reports
from tenants.reports.audit import AuditFilter

PAGE = 1_000
EVERYTHING = AuditFilter()


def line(event: AuditEvent) -> str:
    """Return the event in its canonical form, with its hash."""
    return values.canonical({**chain.content(event), "hash": event.hash})


def chains_of(tenants: Collection[int | None] | None) -> list[int]:
    """Return the chains of these tenants; None among them stands for the platform, None alone for all."""
    if tenants is None:
        return list(AuditChain.objects.order_by("chain").values_list("chain", flat=True))
    return sorted(PLATFORM if tenant is None else tenant for tenant in tenants)


def lines(
    tenants: Collection[int | None] | None, wanted: AuditFilter = EVERYTHING
) -> Iterator[str]:
    """Return the events that have their place, chain by chain, in order."""
    for page in pages(tenants, wanted):
        yield from page


def pages(
    tenants: Collection[int | None] | None,
    wanted: AuditFilter = EVERYTHING,
    *,
    aliases_only: Collection[int] = (),
) -> Iterator[list[str]]:
    """Return the lines page by page; tenants in `aliases_only` are not told what was behind their aliases."""
    for number in chains_of(tenants):
        after = 0
        while events := reports.following(number, after, PAGE, wanted):
            yield [
                line(event)
                for event in events
                if event.tenant_id not in aliases_only or event.object_type != "target"
            ]
            after = events[-1].sequence or 0


async def streamed(found: Iterator[list[str]]) -> AsyncIterator[str]:
    """Read page by page as the receiver takes them, where a server would otherwise read all at once."""
    read = sync_to_async(lambda: next(found, None))
    while (page := await read()) is not None:
        yield "".join(f"{line}\n" for line in page)
