"""Tell a row of the ledger, and a sum of rows, in words: the fields of their pages.

Fields are display methods that stand for columns; what is not shown of a column is not told by them either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from tenants import units
from tenants.console import request_words as words
from tenants.console.scoped_admin import TenantModelAdmin
from tenants.ledger import row_ids
from tenants.models import UsageRow
from tenants.templatetags.figures import count
from tenants.token_classes import TOKEN_CLASSES

Group = tuple[Any, tuple[str, ...]]  # a title, or None, and fields
# The columns that a field tells.
COLUMNS: Mapping[str, str] = {
    "answered_by": "upstream_model",
    "cost_told": "cost_nano",
    "unfunded": "unfunded_nano",
    "list_price": "list_version",
    "read_from": "spool",
}


class ToldInGroups(TenantModelAdmin):
    """A page on one row, whose `groups` of fields say what there is to say, and no more."""

    has_history = False
    groups: ClassVar[tuple[Group, ...]]
    always: ClassVar[frozenset[str]] = frozenset()  # columns, and fields that are dear to ask

    def hidden(self, request: HttpRequest, row: Any) -> frozenset[str]:
        """Return the columns that are not shown of this row."""
        raise NotImplementedError

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        hidden = self.hidden(request, obj)
        shown = [
            (title, [name for name in names if self._has(name, obj, hidden)])
            for title, names in self.groups
        ]
        return [(title, {"fields": names}) for title, names in shown if names]

    def _has(self, name: str, row: Any, hidden: frozenset[str]) -> bool:
        if COLUMNS.get(name, name) in hidden:
            return False
        return name in self.always or row is None or bool(getattr(self, name)(row))


class ToldUsage(ToldInGroups):
    """Tells what rows and sums have in common."""

    @admin.display(description=_("Answered by"))
    def answered_by(self, row: Any) -> str:
        return f"{row.provider}/{row.upstream_model}" if row.provider else ""

    @admin.display(description=_("Tokens"))
    def quantities(self, row: Any) -> SafeString | str:
        return _in_lines(f"{count(number)} {label}" for label, number, _name in used(row))

    @admin.display(description=_("Charge"))
    def charge_told(self, row: Any) -> str:
        return words.dollars(row.charge_nano)

    @admin.display(description=_("Cost"))
    def cost_told(self, row: Any) -> str:
        return words.dollars(row.cost_nano)

    @admin.display(description=_("Not charged"))
    def unfunded(self, row: Any) -> str:
        return words.dollars(row.unfunded_nano) if row.unfunded_nano else ""


def used(row: Any) -> Iterator[tuple[str, int, str]]:
    """Return what tokens were used, by what people call their class, with its name."""
    for name in TOKEN_CLASSES:
        if number := getattr(row, name):
            yield gettext(units.of(name).label), number, name


def _in_lines(texts: Iterable[str]) -> SafeString | str:
    return format_html_join("", '<span class="tg-line">{}</span>', ((text,) for text in texts))


class ToldCall(ToldUsage):
    """Tells what only rows have. Each stands at one call to an upstream, or corrects one."""

    @admin.display(description=_("Attempt"))
    def attempt(self, row: UsageRow) -> str:
        if row.corrects is not None:
            return ""
        told = str(row.leg + 1)
        return (
            f"{told}, {gettext('after which another target was tried')}" if row.absorbed else told
        )

    @admin.display(description=_("Outcome"))
    def outcome(self, row: UsageRow) -> str:
        told = [str(row.get_status_display())]
        if row.http_status:
            told.append(f"HTTP {row.http_status}")
        if row.error_code:
            told.append(f"{words.cause(row.error_code)} ({row.error_code})")
        return ", ".join(dict.fromkeys(told))

    @admin.display(description=_("End user"))
    def end_user_told(self, row: UsageRow) -> str:
        return row.end_user

    @admin.display(description=_("Endpoint"))
    def endpoint(self, row: UsageRow) -> str:
        ways = (
            (row.streamed, _("streamed")),
            (row.websocket, _("over a WebSocket")),
            (row.background, _("in the background")),
        )
        return ", ".join([row.route, *(str(word) for is_so, word in ways if is_so)])

    @admin.display(description=_("Asked for"))
    def asked_for(self, row: UsageRow) -> str:
        is_same = row.requested_model in {"", row.alias}
        return row.alias if is_same else f"{row.requested_model} → {row.alias}"

    @admin.display(description=_("Service tier"))
    def tier(self, row: UsageRow) -> str:
        return row.service_tier

    @admin.display(description=_("Guardrails"))
    def guardrails(self, row: UsageRow) -> str:
        known = words.GUARDRAIL_OUTCOMES.get(row.guardrail_outcome)
        return str(known.label) if known else row.guardrail_outcome

    @admin.display(description=_("Response cache"))
    def cache(self, row: UsageRow) -> str:
        told = str(words.CACHE_OUTCOMES.get(row.cache_outcome, ""))
        saved = {"amount": words.dollars(row.saved_nano)}
        return f"{told}, {gettext('%(amount)s saved') % saved}" if row.saved_nano else told

    @admin.display(description=_("Tags"))
    def tags_told(self, row: UsageRow) -> str:
        return ", ".join(f"{name}: {value}" for name, value in sorted(row.tags.items()))

    @admin.display(description=_("First token after"))
    def first_token(self, row: UsageRow) -> str:
        return words.lasting(row.ttft_ms)

    @admin.display(description=_("Duration"))
    def duration(self, row: UsageRow) -> str:
        return words.lasting(row.duration_ms)

    @admin.display(description=_("Of it the gateway's own work"))
    def own_work(self, row: UsageRow) -> str:
        return f"{number_format(row.overhead_us / 1000, 1)} ms" if row.overhead_us else ""

    @admin.display(description=_("Counted by"))
    def counted_by(self, row: UsageRow) -> str:
        told = str(row.get_usage_source_display())
        strange = gettext("the provider's report contradicts itself")
        return f"{told}; {strange}" if row.usage_anomaly else told

    @admin.display(description=_("Tokens and their charge"))
    def rated_quantities(self, row: UsageRow) -> SafeString | str:
        return _in_lines(
            f"{count(number)} {label}: {words.dollars(getattr(row, f'charge_{name}'))}"
            for label, number, name in used(row)
        )

    @admin.display(description=_("Charge"))
    def charge_told(self, row: UsageRow) -> str:
        return _by_version(row.charge_nano, row.charge_version)

    @admin.display(description=_("Cost"))
    def cost_told(self, row: UsageRow) -> str:
        return _by_version(row.cost_nano, row.cost_version)

    @admin.display(description=_("Held by budgets"))
    def held(self, row: UsageRow) -> str:
        return "" if row.held_nano is None else words.dollars(row.held_nano)

    @admin.display(description=_("Taken by budgets that count list prices"))
    def list_price(self, row: UsageRow) -> str:
        return "" if row.list_version is None else _by_version(row.list_nano, row.list_version)

    @admin.display(description=_("Corrects"))
    def corrected(self, row: UsageRow) -> str:
        return "" if row.corrects is None else row_ids.request_id_of(row.corrects)

    @admin.display(description=_("Reason"))
    def why(self, row: UsageRow) -> str:
        return row.reason

    @admin.display(description=_("By"))
    def by(self, row: UsageRow) -> str:
        return row.actor

    @admin.display(description=_("Spool"))
    def read_from(self, row: UsageRow) -> str:
        return row.spool


class ToldSum(ToldUsage):
    """Tells what only sums have."""

    @admin.display(description=_("Requests"))
    def requests_told(self, row: Any) -> str:
        return count(row.requests)

    @admin.display(description=_("Calls to providers"))
    def calls_told(self, row: Any) -> str:
        return count(row.calls)

    @admin.display(description=_("Failed"))
    def failed_told(self, row: Any) -> str:
        return count(row.failed) if row.failed else ""

    @admin.display(description=_("With estimated tokens"))
    def estimated_told(self, row: Any) -> str:
        return count(row.estimated) if row.estimated else ""

    @admin.display(description=_("Without a price"))
    def unpriced_told(self, row: Any) -> str:
        return count(row.unpriced) if row.unpriced else ""


def _by_version(nano: int, version: int | None) -> str:
    if version is None:
        return gettext("unpriced: there was no price when it was opened")
    return f"{words.dollars(nano)}, {gettext('price version %(version)s') % {'version': version}}"
