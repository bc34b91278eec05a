"""The pages of API keys: changed, rotated and revoked here, each secret shown once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from gateway_project.lib import clock, durations
from gateway_project.lib.secret import Secret
from tenants.access.rights import Area
from tenants.admin import confirming, key_panels
from tenants.admin.described import DescribedAdmin
from tenants.admin.key_forms import KeyForm, RevokeForm, RotateForm
from tenants.admin.limit_words import limit_text
from tenants.audit import events
from tenants.console import drawing
from tenants.console.actions import console_action
from tenants.console.scope import zone_of
from tenants.console.scoped_admin import TenantInline, TenantRelatedFilter, access
from tenants.console.search import FoundBy
from tenants.console.snippets import Example, base_url, snippets
from tenants.keys import key_changes, keys
from tenants.managed.tables import KEYS
from tenants.models import ApiKey, Budget, KeySecret, RateLimit
from tenants.reports import budgets


class StateFilter(admin.SimpleListFilter):
    """Filters by the status column."""

    title = gettext_lazy("status")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("active", gettext_lazy("Active")),
            ("expired", gettext_lazy("Expired")),
            ("revoked", gettext_lazy("Revoked")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = Q(revoked_at=None, expires_at__lte=clock.now())
        match self.value():
            case "active":
                return queryset.filter(revoked_at=None).exclude(expired)
            case "expired":
                return queryset.filter(expired)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


class SecretInline(TenantInline):
    """The traces of a key's secrets: nobody can read, add or change one here."""

    model = KeySecret
    area = Area.KEYS
    fields = ("last_four_shown", "age", "ends")
    readonly_fields = ("last_four_shown", "age", "ends")
    verbose_name_plural = gettext_lazy("Secrets")
    can_delete = False
    max_num = 0
    hide_title = True

    @admin.display(description=gettext_lazy("Secret"))
    def last_four_shown(self, secret: KeySecret) -> str:
        return str(secret)

    @admin.display(description=gettext_lazy("Age"))
    def age(self, secret: KeySecret) -> str:
        return timesince(secret.created_at, clock.now())

    @admin.display(description=gettext_lazy("Ends"))
    def ends(self, secret: KeySecret) -> str:
        if secret.expires_at is None:
            return _("with the key")
        if secret.expires_at <= clock.now():
            return _("ended")
        return _("in %(time)s") % {"time": timesince(clock.now(), secret.expires_at)}

    def has_add_permission(  # type: ignore[override]  # as TenantInline
        self, request: HttpRequest, obj: Model | None
    ) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


OF_REVOKED = ("revoked_at", "revoked_reason")


def is_revoked(key: ApiKey) -> bool:
    return key.revoked_at is not None


def is_rotatable(key: ApiKey) -> bool:
    return not is_revoked(key)


@admin.register(ApiKey)
class ApiKeyAdmin(DescribedAdmin):
    when_empty = gettext_lazy(
        "Clients send a key with each request; it says whose the request is, and what it may use."
    )
    resource = KEYS
    found_by = FoundBy(ids=("public_id",), names=("name",))
    form = KeyForm
    proof_for = frozenset({"add"})  # it shows a secret; rotating asks by itself
    list_display: Any = (
        *("shown", "state", "limits", "budget", "used", "expires", "maker", "tenant"),
    )
    list_select_related = ("tenant", "created_by")
    list_filter = (StateFilter, "all_aliases", ("tenant", TenantRelatedFilter))
    search_fields = ("name", "public_id", "tenant__name")
    fields: ClassVar[Any] = (
        "tenant",
        "name",
        "public_id",
        "scopes",
        "all_aliases",
        "allowed_networks",
        "expires_at",
        "revoked_at",
        "revoked_reason",
        "created_at",
        "maker",
    )
    readonly_fields = ("public_id", "revoked_at", "revoked_reason", "created_at", "maker")
    autocomplete_fields = ("tenant",)
    inlines: ClassVar[tuple[type[TenantInline], ...]] = (SecretInline,)
    actions = ("revoke_chosen",)

    # The list

    def describe(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        who, zone = access(request), zone_of(request)
        seen = [row.pk for row in rows if who.may("view", Area.LIMITS, row.tenant_id)]
        limits = RateLimit.objects.filter(api_key__in=seen).order_by("metric", "window")
        bounding = budgets.of_rows(Budget.objects.filter(api_key__in=seen, enabled=True))
        for row in rows:
            row.zone = zone
            row.own_limits, row.own_budgets = [], []
        by_key = {row.pk: row for row in rows}
        for limit in limits:
            by_key[limit.api_key_id].own_limits.append(limit)
        for budget, state in bounding:
            by_key[budget.api_key_id].own_budgets.append(state)

    @admin.display(description=gettext_lazy("Key"), ordering="name")
    def shown(self, key: ApiKey) -> SafeString:
        return format_html("{} <span class='tg-grey'>{}</span>", key.name, key.public_id)

    @admin.display(description=gettext_lazy("Status"))
    def state(self, key: ApiKey) -> SafeString:
        now = clock.now()
        kind, word = "good", _("Active")
        if key.revoked_at is not None:
            kind, word = "bad", _("Revoked")
        elif key.expires_at is not None and key.expires_at <= now:
            kind, word = "idle", _("Expired")
        return format_html('<span class="tg-badge tg-badge--{}">{}</span>', kind, word)

    @admin.display(description=gettext_lazy("Limits"))
    def limits(self, key: Any) -> str:
        return ", ".join(map(limit_text, key.own_limits)) or "—"

    @admin.display(description=gettext_lazy("Budget"))
    def budget(self, key: Any) -> SafeString | str:
        """Show the budget of which least is left."""
        standings = key.own_budgets
        if not standings:
            return "—"
        tightest = min(standings, key=lambda each: 100 - each.percent(each.used_nano))
        text = key_panels.left_text(tightest)
        return format_html("{}<span class='tg-grey'>{}</span>", drawing.budget_bar(tightest), text)

    @admin.display(description=gettext_lazy("Last used"), ordering="last_used_at")
    def used(self, key: Any) -> SafeString | str:
        return _moment(key.last_used_at, key) or _("never")

    @admin.display(description=gettext_lazy("Expires"), ordering="expires_at")
    def expires(self, key: Any) -> SafeString | str:
        return _moment(key.expires_at, key) or _("never")

    @admin.display(description=gettext_lazy("Made by"), ordering="created_by")
    def maker(self, key: ApiKey) -> str:
        """Show a name without a link: tenant staff have no page of users."""
        return str(key.created_by) if key.created_by is not None else "—"

    # The page of a key

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let only keys be deleted that are revoked: what is meant is mostly to revoke one."""
        is_over = isinstance(obj, ApiKey) and is_revoked(obj)
        return is_over and super().has_delete_permission(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Show only of a revoked key when and why."""
        if isinstance(obj, ApiKey) and is_revoked(obj):
            return super().get_fieldsets(request, obj)
        return [
            (title, {**options, "fields": [f for f in options["fields"] if f not in OF_REVOKED]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> list[Any]:
        """Show no secrets for a key that does not exist yet."""
        inlines = super().get_inlines(request, obj)
        return [inline for inline in inlines if obj is not None or inline is not SecretInline]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *rest: Any, **options: Any
    ) -> HttpResponse:
        key = options.get("obj")
        if key is not None:
            told = key_panels.panels(access(request), key, zone_of(request))
            context = {**context, **told, "key": key, "state": self.state(key)}
        return super().render_change_form(request, context, *rest, **options)

    @console_action(
        gettext_lazy("Rotate"),
        right="change",
        asks=gettext_lazy(
            "The key gets a new secret, shown once on the next page. Its present secrets go on for a while."
        ),
        form=RotateForm,
        is_proven=True,
        shown_for=is_rotatable,
    )
    def rotate(self, request: HttpRequest, row: ApiKey, given: dict[str, Any]) -> HttpResponse:
        with transaction.atomic():
            overlap = (
                durations.parse(given["overlap"]) if given["overlap"] else keys.DEFAULT_OVERLAP
            )
            rotated = key_changes.rotate(row, overlap)
            self.log_change(request, row, "Rotated.")
        return self.secret_page(request, row, rotated.secret)

    @console_action(
        gettext_lazy("Revoke"),
        right="change",
        asks=gettext_lazy(
            "This key is refused within a second, for good: a revoked key cannot be restored."
        ),
        form=RevokeForm,
        is_harmful=True,
        shown_for=is_rotatable,
    )
    def revoke(self, request: HttpRequest, row: ApiKey, given: dict[str, Any]) -> str:
        self._revoked(request, [row], given["reason"])
        return _("The key is revoked.")

    @admin.action(permissions=["change"], description=gettext_lazy("Revoke permanently"))
    def revoke_chosen(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        self.refuse_unless("change", request, queryset)
        form = RevokeForm(request.POST if confirming.is_confirmed(request) else None)
        if not form.is_valid():
            template, title = "admin/tenants/apikey/revoke.html", _("Revoke API keys")
            return confirming.ask(self, request, template, list(queryset), title=title, form=form)
        count = self._revoked(request, queryset, form.cleaned_data["reason"])
        told = ngettext("The key is revoked.", "%(count)s keys revoked.", count)
        self.message_user(request, told % {"count": count})
        return None

    @transaction.atomic
    def _revoked(self, request: HttpRequest, chosen: Iterable[ApiKey], reason: str) -> int:
        listed = list(chosen)  # once: the list may be filtered by what this changes
        for key in listed:
            keys.revoke(key, reason)
            self.log_change(request, key, f"Revoked: {reason}" if reason else "Revoked.")
        return len(listed)

    # The secret

    def example_alias(self, key: ApiKey) -> str:
        """Return an alias that the key may use; blank if there is none."""
        return ""

    def secret_page(self, request: HttpRequest, key: ApiKey, secret: Secret) -> HttpResponse:
        """Show the secret in this very response: a message would keep it in a cookie or the session."""
        with transaction.atomic():
            events.record("api_key.secret_shown", tenant_id=key.tenant_id, row=key)
        alias, shown = self.example_alias(key), secret.reveal()
        example = Example(base_url(request), alias, shown)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Copy the secret now"),
            "opts": self.opts,
            "key": key,
            "secret": shown,
            "example": example,
            "snippets": snippets(example) if alias and "generate" in key.scopes else [],
            "watch_address": self.watch_address(request, key),
        }
        return TemplateResponse(request, "admin/tenants/apikey/secret.html", context)

    def watch_address(self, request: HttpRequest, key: ApiKey) -> str:
        """Return where to ask what became of the key's requests from now on; blank if they may not."""
        if not access(request).may("view", Area.USAGE, key.tenant_id):
            return ""
        since = clock.now().strftime("%Y-%m-%dT%H:%M:%S")
        address = reverse("admin:first_request", args=(key.public_id,))
        return f"{address}?from={since}%2B00:00"


def _moment(at: datetime | None, key: Any) -> SafeString | None:
    if at is None:
        return None
    shown = drawing.instant(at, key.zone)
    date, _space, time = shown.partition(" ")
    return format_html(
        "<time datetime='{}' title='{}'><span class='tg-nowrap'>{}</span> "
        "<span class='tg-grey'>{}</span></time>",
        *(at.isoformat(), key.zone.key, date, time),
    )
