"""Console pages of guardrails, of what they found, and of the bench on which they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from gateway_project.lib.secret import Secret
from responses_api.admin.guardrail_forms import (
    EXPLAINED,
    GuardrailForm,
    config_fields,
    form_of,
)
from responses_api.enforcement import bench
from responses_api.enforcement.bench import BenchQuestion
from responses_api.enforcement.managed import EVENTS, GUARDRAILS
from responses_api.enforcement.specs import AppliedGuardrail
from responses_api.models import Guardrail, GuardrailEvent
from routing.admin.owner import owner
from tenants.access.access import Access
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.admin.browsing import BrowsingAdmin
from tenants.console import request_words as words
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope, carried
from tenants.console.scoped_admin import TenantModelAdmin, TenantRelatedFilter
from tenants.console.search import FoundBy
from tenants.console.shown_once import ShownOnce, show_once
from tenants.models import ApiKey

_WHAT = ("tenant", "alias", "api_key", "name")
_HOW = ("action", "stages", "reversible", "enabled")
_OUTSIDE = (
    "provider", "url", "secret", "allow_private_network", "on_failure", "timeout_ms", "parallel",
)  # fmt: skip
_KNOWN = ("revision", "created_at")


@admin.register(Guardrail)
class GuardrailAdmin(TenantModelAdmin):
    when_empty = gettext_lazy(
        "A guardrail looks at what goes to a model and comes back, and notes, masks or blocks what it finds."
    )
    resource = GUARDRAILS
    found_by = FoundBy(names=("name",))
    form = GuardrailForm
    proof_for = frozenset({"add", "change"})
    change_form_template = "admin/responses_api/guardrail/change_form.html"
    list_display = ("name", owner, "kind", "action", "stages_shown", "narrowed", "enabled")
    list_select_related = ("tenant", "alias", "api_key")
    list_filter = ("kind", "action", "enabled", ("tenant", TenantRelatedFilter))
    search_fields = ("name",)
    readonly_fields = _KNOWN
    autocomplete_fields = ("tenant", "alias", "api_key", "provider")

    @admin.display(description=gettext_lazy("Looks at"))
    def stages_shown(self, row: Guardrail) -> str:
        return ", ".join(row.stages)

    @admin.display(description=gettext_lazy("Only for"))
    def narrowed(self, row: Guardrail) -> str:
        return " · ".join(str(each) for each in (row.alias, row.api_key) if each is not None) or "—"

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        kind = _kind_of(request, obj)
        hidden = set(self._hidden_fields(request, obj))
        may = self.may("add" if obj is None else "change", request, obj)
        what: Sequence[str] = config_fields(kind) if may else ("config",)
        sets = [(None, [*_WHAT, *_HOW]), (_("What it looks for"), what)]
        if kind in {Guardrail.Kind.MODERATION, Guardrail.Kind.WEBHOOK}:
            outside = [each for each in _OUTSIDE if each != "provider" or kind != "webhook"]
            if not may:
                outside.remove("secret")
            sets.append((_("The service that is asked"), outside))
        if obj is not None:
            sets.append((_("About it"), _KNOWN))
        shown = [(title, [each for each in names if each not in hidden]) for title, names in sets]
        return [(title, {"fields": names}) for title, names in shown if names]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any
    ) -> Any:
        """Return the form of the row's kind; what is not shown is left as it is."""
        form = form_of(_kind_of(request, obj))
        shown = {each for _, one in self.get_fieldsets(request, obj) for each in one["fields"]}
        form = type(
            form.__name__,
            (form,),
            {name: None for name in form.declared_fields if name not in shown},
        )
        return super().get_form(request, obj, change, **{"form": form, **options})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Let people choose a kind first."""
        kind = request.GET.get("kind", "")
        if kind not in Guardrail.Kind.values:
            return self._choose_kind(request)
        return super().add_view(request, form_url, {**(extra_context or {}), **_told_of(kind)})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        told = {} if row is None else {**_told_of(row.kind), "bench": _bench_of(request, row)}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **told})

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **options: Any) -> HttpResponse:
        """Hide the secret from error reports; otherwise Django's."""
        return super().changeform_view(*args, **options)

    def _choose_kind(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        query = carried(request)
        here = f"{request.path}{query}{'&' if '?' in query else '?'}kind="
        kinds = [
            {"label": label, "address": f"{here}{kind}", "told": EXPLAINED[kind]}
            for kind, label in Guardrail.Kind.choices
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": _("What kind of guardrail?"),
            "opts": self.opts,
            "kinds": kinds,
        }
        page = "admin/responses_api/guardrail/kinds.html"
        return TemplateResponse(request, page, context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        given = form.cleaned_data.get("secret")
        extra = {"secret": Secret(given)} if given else {}
        made = GUARDRAILS.finish(obj, extra, is_new=not change)
        if made is not None:
            request._made_secret = made  # type: ignore[attr-defined]  # for the answer to this very request

    def response_add(
        self, request: HttpRequest, obj: Guardrail, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show a secret that was made in this very response: a message would leave it in a cookie."""
        made: Secret | None = getattr(request, "_made_secret", None)
        if made is None:
            return super().response_add(request, obj, post_url_continue)
        told = _("The questions to this guardrail's webhook are signed with it, as webhooks are.")
        return show_once(
            self,
            request,
            [ShownOnce(obj, made.reveal(), told)],
            title=_("Copy the secret now"),
            kind=_("Secret"),
            warning=_("It is not shown again. Do not reload this page."),
            note_title=_("What it is for"),
        )


def _kind_of(request: HttpRequest, row: Model | None) -> str:
    return row.kind if isinstance(row, Guardrail) else request.GET.get("kind", "")


def _told_of(kind: str) -> dict[str, Any]:
    return {"kind_label": Guardrail.Kind(kind).label, "kind_told": EXPLAINED[kind]}


def _bench_of(request: HttpRequest, row: Guardrail) -> str:
    query = carried(request)
    return (
        f"{reverse('admin:guardrail_bench')}{query}{'&' if '?' in query else '?'}guardrail={row.pk}"
    )


@admin.register(GuardrailEvent)
class GuardrailEventAdmin(BrowsingAdmin):
    resource = EVENTS
    has_history = False
    when_empty = gettext_lazy("What a guardrail finds in a request or an answer stands here.")
    list_per_page = 50
    list_display = (
        "at", "guardrail", "action", "stage", "surface", "rule", "count", "tenant", "request_id",
    )  # fmt: skip
    list_filter = ("action", "stage", "is_platforms", ("tenant", TenantRelatedFilter))
    sortable_by = ()
    search_fields = ("request_id__exact", "guardrail__exact")
    search_help_text = gettext_lazy("The id of a request, or the name of a guardrail.")
    fields = (
        "at", "tenant", "request_shown", "key_public_id", "guardrail", "is_platforms", "revision", "stage",
        "surface", "rule", "action", "count", "offset", "length", "digest", "latency_ms", "failure",
    )  # fmt: skip
    readonly_fields = ("request_shown",)

    @admin.display(description=gettext_lazy("Request"))
    def request_shown(self, row: GuardrailEvent) -> str:
        return row.request_id


@console_page
class GuardrailBenchPage(ConsolePage):
    """Try guardrails on a pasted text, as a whole or as a stream. Nothing is stored."""

    path = "guardrail-bench"
    name = "guardrail_bench"
    title = gettext_lazy("Test bench")
    template = "console/guardrail_bench.html"
    area = Area.GUARDRAILS
    methods = frozenset({"GET", "HEAD", "POST"})

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        who = access(request)
        rows = _rows(who, scope)
        chosen = request.POST.get("guardrail") or request.GET.get("guardrail", "")
        found: dict[str, Any] = {
            "guardrails": rows,
            "chosen": chosen,
            "keys": _keys(who, scope),
            "given": request.POST,
            "may_add": who.may_somewhere("add", Area.GUARDRAILS),
        }
        if request.method == "POST":
            try:
                found |= _tried(who, rows, request)
            except ValidationError as error:
                found["errors"] = error.messages
        return found


def _rows(who: Access, scope: Scope) -> list[Guardrail]:
    rows: QuerySet[Guardrail] = GUARDRAILS.visible(who, Guardrail.objects.all())
    if scope.tenant is not None:
        rows = rows.filter(tenant__in=[scope.tenant]) | rows.filter(tenant=None)
    return list(rows.select_related("tenant").order_by("name", "pk")[:500])


def _keys(who: Access, scope: Scope) -> list[ApiKey]:
    """Return the keys of the tenant that is looked at, of which it can be asked what applies to them."""
    if scope.tenant is None or not who.may("view", Area.GUARDRAILS, scope.tenant.pk):
        return []
    rows = ApiKey.objects.filter(tenant=scope.tenant, revoked_at=None)
    return list(rows.order_by("name", "pk")[:500])


def _tried(who: Access, rows: list[Guardrail], request: HttpRequest) -> dict[str, Any]:
    given = request.POST
    piece = given.get("piece", "0")
    if not (piece.isascii() and piece.isdigit() and len(piece) < 7):
        raise ValidationError(_("Write a whole number of characters."))
    text = given.get("text", "").replace("\r\n", "\n")
    question = BenchQuestion(
        text,
        given.get("stage", "input"),  # type: ignore[arg-type]  # checked by the bench
        int(piece),
        bool(given.get("external")),
    )
    result = bench.try_text(who, _applied(who, rows, request), question)
    return {
        "result": result,
        "outcome": words.GUARDRAIL_OUTCOMES.get(result.outcome),
        "marked": _marked(text, result.spans),
    }


def _applied(
    who: Access, rows: list[Guardrail], request: HttpRequest
) -> tuple[AppliedGuardrail, ...]:
    given = request.POST
    if given.get("key"):
        key = ApiKey.objects.filter(public_id=given["key"].replace("\0", "")).first()
        if key is None or not who.may("view", Area.GUARDRAILS, key.tenant_id):
            raise ValidationError(_("There is no such key."))
        return bench.of_key(key, given.get("model", ""))
    row = next((each for each in rows if str(each.pk) == given.get("guardrail")), None)
    if row is None:
        raise ValidationError(_("Choose a guardrail, or a key and a model."))
    return bench.of_row(row)


def _marked(text: str, spans: Any) -> list[dict[str, Any]]:
    """Cut the text into what was found and what stands between; what lies within another is left out."""
    pieces: list[dict[str, Any]] = []
    at = 0
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        if span.start < at:
            continue
        pieces += [
            {"text": text[at : span.start]},
            {"text": text[span.start : span.end], "of": span},
        ]
        at = span.end
    return [*pieces, {"text": text[at:]}]
