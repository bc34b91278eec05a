"""The guide that makes an API key on one page: who it is for, what it may do, how much, and its secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib import clock
from routing import grants
from routing.models import Alias
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.admin.key_forms import NetworksField, ScopesField
from tenants.admin.keys import ApiKeyAdmin
from tenants.console import drawing
from tenants.console.checked_input import CheckedChoiceField, CheckedMultipleChoiceField
from tenants.console.scope import asked_tenant
from tenants.console.scoped_admin import access
from tenants.keys import presets
from tenants.models import Budget, Tenant
from tenants.reports import key_use
from tenants.theme import Checkbox, Checkboxes, DollarField, NumberInput, Select, TextInput
from tenants.validators import SCOPES

MOST_TENANTS = 50
CUSTOM = "custom"
LIFETIMES: Mapping[str, timedelta | None] = {
    "30": timedelta(days=30),
    "90": timedelta(days=90),
    "": None,
}
LIFETIME_LABELS = (
    ("30", gettext_lazy("30 days")),
    ("90", gettext_lazy("90 days")),
    ("", gettext_lazy("for good")),
)
# The fields of the form by those of what it makes, for the sentences about them.
FIELD_OF = {"limits": "requests_per_minute", "budget": "amount_nano", "expires_at": "lifetime"}


class AliasBoxes(CheckedMultipleChoiceField):
    """Aliases to tick, with what a call of each costs on average."""

    means: Mapping[str, int] = {}

    def label_from_instance(self, obj: Any) -> str:
        name = obj.name if obj.tenant_id else _("%(name)s (platform)") % {"name": obj.name}
        mean = self.means.get(obj.name)
        if mean is None:
            return str(name)
        told = _("%(name)s, ≈ %(mean)s a call")
        return told % {"name": name, "mean": drawing.money(mean)}


class NewKeyForm(forms.Form):
    """A form for a new key; it asks for the tenant only where there is a choice."""

    tenant = CheckedChoiceField(queryset=Tenant.objects.none(), label=gettext_lazy("Tenant"))
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=200,
        widget=TextInput(attrs={"autofocus": True, "autocomplete": "off"}),
        help_text=gettext_lazy("What it is for, such as “ci” or “Bea's laptop”."),
    )
    lifetime = forms.ChoiceField(
        label=gettext_lazy("It works"),
        choices=LIFETIME_LABELS,
        required=False,
        widget=forms.RadioSelect,
        initial="90",
    )
    all_aliases = forms.BooleanField(
        label=gettext_lazy("It may use every alias"), required=False, initial=True, widget=Checkbox
    )
    aliases = AliasBoxes(
        queryset=Alias.objects.none(),
        label=gettext_lazy("Only these aliases"),
        required=False,
        widget=Checkboxes,
    )
    scopes = ScopesField(label=gettext_lazy("Scopes"), initial=sorted(SCOPES))
    allowed_networks = NetworksField()
    preset = forms.ChoiceField(
        label=gettext_lazy("How much"), required=False, widget=forms.RadioSelect, initial="none"
    )
    requests_per_minute = forms.IntegerField(
        label=gettext_lazy("Requests a minute"), required=False, min_value=1, widget=NumberInput
    )
    amount_nano = DollarField(label=gettext_lazy("Budget"), required=False)
    period = forms.ChoiceField(
        label=gettext_lazy("Counted"),
        choices=Budget.Period.choices,
        required=False,
        initial=Budget.Period.MONTHLY,
        widget=Select,
    )

    def __init__(
        self, who: Access, tenant: Tenant | None, offered: QuerySet[Any], *args: Any
    ) -> None:
        super().__init__(*args)
        self.means = {} if tenant is None else _means(who, tenant)
        self._offer_tenants(who, tenant)
        field = self.fields["aliases"]
        assert isinstance(field, AliasBoxes)
        field.means = self.means
        field.queryset = offered.none() if tenant is None else aliases_of(offered, tenant)
        is_bounding = tenant is not None and who.may("add", Area.LIMITS, tenant.pk)
        if is_bounding:
            self.fields["preset"].choices = self._preset_choices()  # type: ignore[attr-defined]
        else:
            for name in ("preset", "requests_per_minute", "amount_nano", "period"):
                del self.fields[name]

    def _offer_tenants(self, who: Access, tenant: Tenant | None) -> None:
        field = self.fields["tenant"]
        assert isinstance(field, CheckedChoiceField)
        field.queryset = tenants_for(who)
        field.widget = forms.HiddenInput()
        field.initial = None if tenant is None else tenant.pk
        field.required = only_tenant(who) is None

    def _preset_choices(self) -> list[tuple[str, Any]]:
        known = [(each.name, _described(each, self.means)) for each in presets.PRESETS]
        return [*known, (CUSTOM, _("Something else"))]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not cleaned.get("all_aliases") and not cleaned.get("aliases"):
            self.add_error("aliases", _("Choose at least one, or let it use every alias."))
        return cleaned

    def values(self, tenant: Tenant) -> dict[str, Any]:
        """Return what a whole key is made of."""
        given = self.cleaned_data
        lifetime = LIFETIMES[given["lifetime"]]
        names = None if given["all_aliases"] else [alias.name for alias in given["aliases"]]
        return {
            "tenant": tenant,
            "name": given["name"],
            "scopes": sorted(given["scopes"]),
            "allowed_networks": given["allowed_networks"],
            "expires_at": None if lifetime is None else clock.now() + lifetime,
            "aliases": names,
            **self._bounds(),
        }

    def _bounds(self) -> dict[str, Any]:
        given = self.cleaned_data
        for preset in presets.PRESETS:
            if given.get("preset") == preset.name:
                return preset.parts()
        if given.get("preset") != CUSTOM:
            return {}
        limit, amount = given["requests_per_minute"], given["amount_nano"]
        own = presets.Preset(CUSTOM, "", limit, amount, given["period"] or Budget.Period.MONTHLY)
        return own.parts()

    def blame(self, error: ValidationError) -> None:
        """Show what could not be made beside the field it came from."""
        if not hasattr(error, "error_dict"):
            self.add_error(None, error.messages)
            return
        for name, sentences in error.message_dict.items():
            field = FIELD_OF.get(name, name)
            self.add_error(field if field in self.fields else None, sentences)


def _means(who: Access, tenant: Tenant) -> dict[str, int]:
    is_shown = who.may("view", Area.USAGE, tenant.pk)
    return key_use.mean_charges(tenant.pk) if is_shown else {}


def _described(preset: presets.Preset, means: Mapping[str, int]) -> str | Promise:
    limit, amount = preset.requests_per_minute, preset.amount_nano
    if limit is None or amount is None:
        return preset.label
    amounts = {
        "label": preset.label,
        "limit": limit,
        "amount": drawing.money(amount),
    }
    if preset.period == Budget.Period.TOTAL:
        text = _("%(label)s: %(limit)s requests a minute, %(amount)s once") % amounts
    else:
        text = _("%(label)s: %(limit)s requests a minute, %(amount)s a month") % amounts
    alias, mean = next(iter(means.items()), ("", 0))
    if not mean:
        return text
    calls = {
        "calls": number_format(_rounded(amount // mean), 0, force_grouping=True),
        "alias": alias,
    }
    return format_html(
        "{} <span class='tg-grey'>{}</span>", text, _("≈ %(calls)s calls of %(alias)s") % calls
    )


def _rounded(number: int) -> int:
    """Round to two digits: an estimate is not to look exact."""
    digits = max(len(str(number)) - 2, 0)
    return round(number, -digits)


def aliases_of(rows: QuerySet[Any], tenant: Tenant) -> QuerySet[Any]:
    """Return those of the aliases that keys of a tenant can be granted, its own first."""
    own = rows.filter(Q(tenant=tenant) | Q(tenant=None)).select_related("platform_alias")
    return own.order_by(F("tenant").asc(nulls_last=True), "name")


def tenants_for(who: Access) -> QuerySet[Tenant]:
    """Return the tenants in which they may make keys."""
    if (Area.KEYS, "add") in who.platform:
        return Tenant.objects.order_by("slug")
    return Tenant.objects.filter(pk__in=who.tenants_where("add", Area.KEYS)).order_by("slug")


def only_tenant(who: Access) -> int | None:
    """Return the one tenant in which they may make keys, if there is no choice."""
    mine = who.tenants_where("add", Area.KEYS)
    is_anywhere = (Area.KEYS, "add") in who.platform
    return next(iter(mine)) if len(mine) == 1 and not is_anywhere else None


def answer(page: ApiKeyAdmin, request: HttpRequest) -> HttpResponse:
    """Show the guide; on a POST make the key and show its secret, or what is wrong."""
    who = access(request)
    tenant = _tenant(request, who)
    offered = page.choices(Alias.objects.filter(enabled=True), request)
    if request.method != "POST":
        return _shown(page, request, NewKeyForm(who, tenant, offered), tenant)
    form = NewKeyForm(who, tenant, offered, request.POST)
    if not form.is_valid() or tenant is None:
        return _shown(page, request, form, tenant)
    try:
        made = grants.create_whole_key(who, form.values(tenant))
    except ValidationError as error:
        form.blame(error)
        return _shown(page, request, form, tenant)
    assert made.secret is not None
    page.log_addition(request, made.row, [{"added": {}}])
    return page.secret_page(request, made.row, made.secret)


def _tenant(request: HttpRequest, who: Access) -> Tenant | None:
    """Return the tenant of the new key: the only one, as sent, else the one that is looked at."""
    only = only_tenant(who)
    if only is not None:
        return Tenant.objects.get(pk=only)
    offered = tenants_for(who)
    sent = request.POST.get("tenant", "")
    if request.method == "POST":
        is_number = sent.isascii() and sent.isdecimal() and len(sent) < 19
        return offered.filter(pk=int(sent)).first() if is_number else None
    asked = asked_tenant(request)
    if asked is not None:
        return offered.filter(pk=asked.pk).first()
    first = offered[:2]
    return first[0] if len(first) == 1 else None


def _shown(
    page: ApiKeyAdmin, request: HttpRequest, form: NewKeyForm, tenant: Tenant | None
) -> HttpResponse:
    who = access(request)
    offered = list(tenants_for(who)[: MOST_TENANTS + 1]) if only_tenant(who) is None else []
    context = {
        **page.admin_site.each_context(request),
        "title": _("Create an API key"),
        "opts": page.opts,
        "form": form,
        "tenant": tenant,
        "offered": offered,
        "has_many": len(offered) > MOST_TENANTS,
        "custom": CUSTOM,
    }
    return TemplateResponse(request, "admin/tenants/apikey/new.html", context)
