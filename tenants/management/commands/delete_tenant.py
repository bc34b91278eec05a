"""delete_tenant: erase a tenant, and tell how far that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.deletion import asking, work
from tenants.models import Tenant, TenantDeletion


class Command(AnsweringCommand):
    help = "Delete a tenant for good: all but what invoices need. Without --yes, say what would go."
    routes = ("GET tenants/{key}/deletion", "POST tenants/{key}/deletion")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "slug", help="the tenant's slug; once it is deleted, deleted-… and its id"
        )
        parser.add_argument("--yes", action="store_true", help="delete it")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.by_slug(options["slug"])
        deletion = TenantDeletion.objects.filter(tenant=tenant).first()
        if deletion is None and options["yes"]:
            deletion = asking.ask(tenant, OPERATOR, typed_slug=options["slug"])
        left = work.remaining(tenant)
        return _progress(deletion, left) if deletion else _preview(tenant, left)


def _preview(tenant: Tenant, left: dict[str, int]) -> CommandResult:
    fields = {"tenant": tenant.slug, "state": "not_asked", "erased": {}, "left": left}
    text = f"Deleting {tenant.slug!r} ({tenant.name}) would erase, for good:\n{_lines(left)}\n"
    return CommandResult(fields, f"{text}Run it again with --yes to delete it.")


def _progress(deletion: TenantDeletion, left: dict[str, int]) -> CommandResult:
    finished_at = deletion.finished_at
    fields = {
        "tenant": deletion.tenant.slug,
        "state": deletion.state,
        "asked_at": deletion.asked_at.isoformat(),
        "finished_at": finished_at and finished_at.isoformat(),
        "erased": deletion.counts,
        "left": left,
    }
    if finished_at is not None:
        text = f"It was deleted at {finished_at.isoformat()}:\n{_lines(deletion.counts)}"
        return CommandResult(fields, text)
    text = f"Its keys are revoked. Erased so far:\n{_lines(deletion.counts)}\nLeft:\n{_lines(left)}"
    return CommandResult(
        fields,
        f"{text}\n`serve`, or `background_worker`, works on it; run this again to see how far it is.",
    )


def _lines(counts: dict[str, int]) -> str:
    return "\n".join(f"  {work.in_words(label, n)}" for label, n in counts.items()) or "  nothing"
