"""Set up a provider in one request, or try out what would be set up."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from gateway_project.lib.secret import Secret
from routing import provider_options, setup
from routing.catalogue import NewProvider
from routing.managed import MAX_SECRET
from routing.models import Provider
from routing.setup import ChosenModel, Trial
from routing.testing import TooManyTests
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import ManagementView, access_of, body_of
from tenants.managed.values import could_be_key
from tenants.models import Tenant


class ChosenSerializer(serializers.Serializer[Any]):
    upstream_id = serializers.CharField(max_length=200, help_text="The provider's name for it.")
    alias = serializers.CharField(
        max_length=200, required=False, help_text="The name clients use; none is made without it."
    )


class TrialSerializer(serializers.Serializer[Any]):
    """Tells what came of asking an upstream for its models."""

    ok = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.FloatField()
    error = serializers.CharField(allow_blank=True)
    models = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(child=serializers.CharField())


class DraftSerializer(serializers.Serializer[Any]):
    """A provider as it is typed; a known vendor says what is left out."""

    tenant = serializers.IntegerField(required=False, allow_null=True)
    vendor = serializers.CharField(max_length=63, required=False)
    name = serializers.CharField(max_length=63, required=False)
    protocol = serializers.CharField(max_length=16, required=False)
    base_url = serializers.CharField(max_length=500, required=False)
    auth_kind = serializers.ChoiceField(choices=Provider.AuthKind.choices, required=False)
    quirks = serializers.DictField(required=False)
    allow_private_network = serializers.BooleanField(required=False)
    secret = serializers.CharField(max_length=MAX_SECRET, required=False)


class SetUpSerializer(DraftSerializer):
    models = ChosenSerializer(many=True, required=False)


class MadeSerializer(serializers.Serializer[Any]):
    provider = serializers.IntegerField()
    models = serializers.ListField(child=serializers.CharField())
    aliases = serializers.ListField(child=serializers.CharField())


FIELDS = frozenset(DraftSerializer().fields)


class TryOutView(ManagementView):
    """Ask an upstream that is not saved for its models: does it answer, and what has it?"""

    operation = "providers_setup_test"
    serializer_class = TrialSerializer
    body_class = DraftSerializer

    def post(self, request: Request) -> Response:
        new = draft_of(access_of(request), body_of(request, FIELDS))
        try:
            found = setup.try_out(access_of(request), new)
        except TooManyTests as error:
            raise errors.RateLimited(" ".join(error.messages), 60) from error
        return Response(told_trial(access_of(request), new, found))


def told_trial(who: Access, new: NewProvider, found: Trial) -> dict[str, Any]:
    """Return what came of trying a provider out, and what would keep it from answering."""
    return {
        "ok": found.ok,
        "status": found.status,
        "latency_ms": found.latency_ms,
        "error": found.error,
        "models": list(found.models),
        "warnings": setup.warnings(who, new),
    }


class SetUpView(ManagementView):
    """Make a provider, its credential, models of it and an alias for each, all or nothing."""

    operation = "providers_setup"
    serializer_class = MadeSerializer
    body_class = SetUpSerializer
    status_of_success = 201

    def post(self, request: Request) -> Response:
        body = body_of(request, FIELDS | {"models"})
        chosen = _chosen(body.pop("models", []))
        new = draft_of(access_of(request), body)
        made = setup.save(access_of(request), new, chosen)
        told = {"provider": made.provider.pk, "models": made.models, "aliases": made.aliases}
        return Response(told, status=201)


def draft_of(who: Access, body: dict[str, Any]) -> NewProvider:
    """Return what the body describes. Raise InvalidFields, or Http404 for a tenant they may not see."""
    wrong = {
        name: [told] for name, value in body.items() if (told := _fault(name, value)) is not None
    }
    if wrong:
        raise errors.InvalidFields(wrong)
    vendor = setup.vendor_named(body.get("vendor", ""))
    protocol = body.get("protocol") or (vendor.protocol if vendor is not None else "")
    usual = vendor.auth_kind if vendor is not None else provider_options.usual_auth(protocol)
    return NewProvider(
        name=body.get("name") or body.get("vendor", ""),
        vendor=body.get("vendor", ""),
        protocol=protocol,
        base_url=body.get("base_url") or (vendor.base_url if vendor is not None else ""),
        auth_kind=body.get("auth_kind") or usual,
        quirks=body.get("quirks", dict(vendor.quirks) if vendor is not None else {}),
        allow_private_network=body.get("allow_private_network", False),
        secret=Secret(body["secret"]) if body.get("secret") else None,
        tenant=_tenant(who, body.get("tenant")),
    )


_KINDS: dict[str, tuple[Any, str]] = {
    "tenant": ((int, type(None)), "Write the id of a tenant, or null for the platform."),
    "quirks": (dict, "Write an object."),
    "allow_private_network": (bool, "Write true or false."),
}


def _fault(name: str, value: Any) -> str | None:
    kind, told = _KINDS.get(name, (str, "Write a text."))
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return told
    if isinstance(value, str):
        most = MAX_SECRET if name == "secret" else 500
        try:
            value.encode()
        except UnicodeEncodeError:
            return "Text may hold no half of a character."
        if "\0" in value or len(value) > most:
            return f"Write at most {most} characters, and no NUL."
    return None


def _tenant(who: Access, key: int | None) -> Tenant | None:
    """Return the tenant that is named; who acts for a single one need not name it."""
    if key is None and not who.sees_all_tenants:
        mine = who.tenants_where("add", Area.PROVIDERS) or who.tenants
        if len(mine) != 1:
            raise ValidationError({"tenant": "Name the tenant the provider is for."})
        key = next(iter(mine))
    if key is None:
        return None
    rows = (
        Tenant.objects.all() if who.sees_all_tenants else Tenant.objects.filter(pk__in=who.tenants)
    )
    found = rows.filter(pk=key).first() if could_be_key(Tenant, "pk", key) else None
    if found is None:
        raise Http404
    return found


def _chosen(models: Any) -> list[ChosenModel]:
    told = "Write a list of objects with 'upstream_id', and 'alias' where one is to be made."
    if not isinstance(models, list):
        raise errors.InvalidFields({"models": [told]})
    found = []
    for each in models:
        is_good = isinstance(each, dict) and not set(each) - {"upstream_id", "alias"}
        if not is_good or any(_fault("model", value) for value in each.values()):
            raise errors.InvalidFields({"models": [told]})
        if not each.get("upstream_id"):
            raise errors.InvalidFields({"models": [told]})
        found.append(ChosenModel(each["upstream_id"], each.get("alias", "")))
    return found
