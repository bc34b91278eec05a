"""The page that adds a provider in one go: vendor, address, secret, test, models, aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_post_parameters

from gateway_project.lib.secret import Secret
from routing import kept_secret, setup
from routing.catalogue import NewProvider
from routing.managed import MAX_SECRET
from routing.models import Provider, protocol_choices
from routing.setup import ChosenModel, Trial
from routing.vendors import VENDORS, Vendor
from tenants.access.access import Access
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope
from tenants.models import Tenant
from tenants.sign_in.proof import demand

CUSTOM = "custom"
MAX_LISTED = 400


class SetupForm(forms.Form):
    """A provider as it is typed. `of` leaves out what the person may not decide."""

    tenant = forms.ModelChoiceField(
        Tenant.objects.none(),
        required=False,
        label=gettext_lazy("For"),
        empty_label=gettext_lazy("Every tenant (the platform)"),
    )
    name = forms.CharField(
        max_length=63,
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("Lower-case letters, digits and - . _, as in name/model."),
    )
    protocol = forms.ChoiceField(choices=protocol_choices, label=gettext_lazy("Protocol"))
    base_url = forms.CharField(
        max_length=500,
        label=gettext_lazy("Address"),
        help_text=gettext_lazy("Up to and including /v1, as in https://api.openai.com/v1."),
    )
    auth_kind = forms.ChoiceField(
        choices=Provider.AuthKind.choices, label=gettext_lazy("How the key is sent")
    )
    allow_private_network = forms.BooleanField(
        required=False, label=gettext_lazy("Allow private network")
    )
    secret = forms.CharField(
        max_length=MAX_SECRET,
        required=False,
        strip=True,
        label=gettext_lazy("Secret key"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    vendor = forms.CharField(max_length=63, required=False, widget=forms.HiddenInput)
    kept = forms.CharField(max_length=40_000, required=False, widget=forms.HiddenInput)

    @classmethod
    def of(cls, who: Access, *args: Any, **options: Any) -> SetupForm:
        form = cls(*args, **options)
        tenants = form.fields["tenant"]
        assert isinstance(tenants, forms.ModelChoiceField)
        if who.may("add", Area.PROVIDERS, None):
            tenants.queryset = Tenant.objects.order_by("name")
            return form
        mine = who.tenants_where("add", Area.PROVIDERS)
        tenants.queryset = Tenant.objects.filter(pk__in=mine).order_by("name")
        tenants.required, tenants.empty_label = True, None
        del form.fields["allow_private_network"]
        return form


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model that can be ticked, with its alias, in the form as it was sent or is suggested."""

    number: int
    upstream_id: str
    alias: str
    is_ticked: bool


@console_page
class SetupPage(ConsolePage):
    """Add a provider: nothing is saved before *Save*, and then everything is."""

    path = "providers/set-up"
    name = "provider_setup"
    title = gettext_lazy("Set up a provider")
    template = "console/models/setup.html"
    area = Area.PROVIDERS
    methods: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD", "POST"})

    @classmethod
    def may(cls, request: HttpRequest) -> bool:
        return access(request).may_somewhere("add", Area.PROVIDERS)

    @method_decorator(sensitive_post_parameters("secret", "kept"))
    def respond(self, request: HttpRequest, scope: Scope, **captured: Any) -> HttpResponse:
        if request.method == "POST":
            return self._sent(request, scope)
        vendor = request.GET.get("vendor", "")
        if vendor != CUSTOM and setup.vendor_named(vendor) is None:
            return self.rendered(request, scope, {"vendors": VENDORS, "custom": CUSTOM})
        form = SetupForm.of(scope.who, initial=_initial(vendor, scope))
        return self._page(request, scope, form)

    def _sent(self, request: HttpRequest, scope: Scope) -> HttpResponse:
        form = SetupForm.of(scope.who, request.POST)
        if not form.is_valid():
            return self._page(request, scope, form, status=400)
        rows: Sequence[ModelRow] = _rows_sent(request.POST)
        try:
            new = _draft(form, request)
            if request.POST.get("do") == "save":
                return self._save(request, scope, form, new, rows)
            trial = setup.try_out(scope.who, new)
        except ValidationError as error:
            _tell(form, error)
            return self._page(request, scope, form, rows=rows, status=400)
        rows = _rows_listed(new, trial, rows)
        return self._page(request, scope, form, new=new, trial=trial, rows=rows)

    def _save(
        self,
        request: HttpRequest,
        scope: Scope,
        form: SetupForm,
        new: NewProvider,
        rows: Sequence[ModelRow],
    ) -> HttpResponse:
        setup.check(scope.who, new)
        warnings = setup.warnings(scope.who, new)
        if warnings and request.POST.get("warned") != "yes":
            return self._page(request, scope, form, new=new, rows=rows)
        if new.secret is not None:
            demand(request)
        chosen = [ChosenModel(row.upstream_id, row.alias) for row in rows if row.is_ticked]
        made = setup.save(scope.who, new, [*chosen, *_further(request.POST)])
        text = ngettext(
            "Provider %(name)s is set up, with %(count)s model.",
            "Provider %(name)s is set up, with %(count)s models.",
            len(made.models),
        )
        told = text % {"name": made.provider.name, "count": len(made.models)}
        messages.success(request, _with_next(told, scope.who, made.provider))
        return redirect("admin:routing_provider_change", made.provider.pk)

    def _page(
        self,
        request: HttpRequest,
        scope: Scope,
        form: SetupForm,
        *,
        new: NewProvider | None = None,
        trial: Trial | None = None,
        rows: Sequence[ModelRow] = (),
        status: int = 200,
    ) -> HttpResponse:
        secret = new.secret if new is not None else Secret(request.POST.get("secret", ""))
        address = request.POST.get("base_url", "")
        context = {
            "form": form,
            "trial": trial,
            "rows": rows,
            "further": request.POST.get("further", ""),
            "most": setup.MAX_MODELS,
            "warnings": setup.warnings(scope.who, new) if new is not None else (),
            "kept": kept_secret.keep(secret, address, request.user.pk)
            if secret
            else ("" if new is not None else request.POST.get("kept", "")),
            "last_four": secret.last_four if secret else "",
        }
        response = self.rendered(request, scope, context, status=status)
        response["cache-control"] = "no-store"
        return response


def _with_next(told: str, who: Access, provider: Provider) -> str:
    """Add the way to what comes next: a key that asks these models."""
    if not who.may("add", Area.KEYS, provider.tenant_id):
        return told
    of = f"?{urlencode({'tenant': provider.tenant.slug})}" if provider.tenant else ""
    address = f"{reverse('admin:tenants_apikey_add')}{of}"
    return format_html('{} <a href="{}">{}</a>', told, address, _("Create a key for it"))


def _initial(vendor: str, scope: Scope) -> dict[str, Any]:
    known = setup.vendor_named(vendor)
    tenant = {"tenant": scope.tenant.pk} if scope.tenant is not None else {}
    if known is None:
        return {"auth_kind": Provider.AuthKind.BEARER, **tenant}
    return {
        "vendor": known.name,
        "name": known.name,
        "protocol": known.protocol,
        "base_url": known.base_url,
        "auth_kind": known.auth_kind,
        **tenant,
    }


def _draft(form: SetupForm, request: HttpRequest) -> NewProvider:
    """Return what was typed. Raise ValidationError if a secret kept from before is not for this address."""
    values = form.cleaned_data
    vendor: Vendor | None = setup.vendor_named(values["vendor"])
    secret = Secret(values["secret"]) if values["secret"] else None
    if secret is None and values["kept"]:
        secret = kept_secret.open_kept(values["kept"], values["base_url"], request.user.pk)
    is_keyless = values["auth_kind"] == Provider.AuthKind.NONE
    return NewProvider(
        name=values["name"],
        vendor=values["vendor"],
        protocol=values["protocol"],
        base_url=values["base_url"],
        auth_kind=values["auth_kind"],
        quirks=dict(vendor.quirks) if vendor is not None else {},
        allow_private_network=values.get("allow_private_network", False),
        secret=None if is_keyless else secret,
        tenant=values["tenant"],
    )


def _tell(form: SetupForm, error: ValidationError) -> None:
    """Put sentences beside the fields they are about, others above all."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for name, sentences in error.message_dict.items():
        field = name if name in form.fields and name != NON_FIELD_ERRORS else None
        for sentence in sentences:
            form.add_error(field, sentence)


def _rows_sent(posted: Mapping[str, str]) -> list[ModelRow]:
    """Return the models as they stood in the form."""
    found = []
    for number in range(MAX_LISTED):
        upstream_id = posted.get(f"model-{number}")
        if upstream_id is None:
            break
        alias, is_ticked = posted.get(f"alias-{number}", "").strip(), f"take-{number}" in posted
        found.append(ModelRow(number, upstream_id, alias, is_ticked))
    return found


def _rows_listed(new: NewProvider, trial: Trial, sent: Sequence[ModelRow]) -> Sequence[ModelRow]:
    """Return the models that the upstream lists, those to begin with first; what was ticked stays so."""
    if not trial.ok:
        return sent
    known = [each.id for each in setup.starter_models(new.vendor)]
    listed = set(trial.models)
    first = [upstream_id for upstream_id in known if upstream_id in listed]
    ids = [*first, *(each for each in trial.models if each not in first)][:MAX_LISTED]
    before = {row.upstream_id: row for row in sent}
    ticked = set(first or (ids if len(ids) == 1 else ()))
    return [
        ModelRow(
            number,
            each.upstream_id,
            before[each.upstream_id].alias if each.upstream_id in before else each.alias,
            before[each.upstream_id].is_ticked
            if each.upstream_id in before
            else each.upstream_id in ticked,
        )
        for number, each in enumerate(setup.suggestions(new.tenant, new.vendor, ids))
    ]


def _further(posted: Mapping[str, str]) -> list[ChosenModel]:
    """Return models that were typed, one a line, each with its own name as its alias."""
    lines = (line.strip() for line in posted.get("further", "").splitlines())
    return [ChosenModel(line, line) for line in lines if line]
