"""Serve the configuration as a file: written of what there is, and applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from tenants.access.access import Access
from tenants.api.base import ManagementView, access_of
from tenants.configuration import applying, document, exporting
from tenants.configuration.secrets import SecretsKept
from tenants.models import Tenant

YAML = "application/yaml"
FLAGS = ("dry_run", "prune", "show_secrets")
# All is one transaction, and while it runs nobody else changes any configuration.
MOST_OF_TENANTS = 200


class DifferenceSerializer(serializers.Serializer[Any]):
    """One object that is made, changed or removed, or could be."""

    action = serializers.ChoiceField(choices=("created", "changed", "removed", "kept", "leftover"))
    place = serializers.CharField(allow_null=True, help_text="Such as tenants[0].keys[1].")
    owner = serializers.CharField(help_text="The slug of a tenant, or platform.")
    section = serializers.CharField()
    name = serializers.CharField()
    changes = serializers.DictField(help_text="By field: from and to.")
    reason = serializers.CharField(required=False)
    id = serializers.CharField(required=False)
    secret = serializers.CharField(required=False, help_text="With show_secrets, this once.")


class PlanSerializer(serializers.Serializer[Any]):
    """A plan of what applying a file did or, with dry_run, would do."""

    dry_run = serializers.BooleanField()
    created = serializers.IntegerField()
    changed = serializers.IntegerField()
    removed = serializers.IntegerField()
    kept = serializers.IntegerField()
    leftover = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    differences = DifferenceSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField())


class ConfigurationView(ManagementView):
    """The configuration as a file."""

    serializer_class = PlanSerializer
    operations: ClassVar[dict[str, dict[str, Any]]] = {
        "get": {
            "id": "configuration_export",
            "asked": {"tenant": {"type": "string", "description": "Its slug."}},
            "answers": YAML,
        },
        "post": {
            "id": "configuration_apply",
            "asked": {key: {"type": "boolean"} for key in ("dry_run", "prune", "show_secrets")},
            "takes": YAML,
        },
    }

    def get(self, request: Request) -> HttpResponse:
        """Write what there is, and may be seen, as the file that applying takes; without secrets."""
        who = access_of(request)
        _refuse_unknown(request, ("tenant",))
        tenant = _tenant(who, request.query_params.get("tenant"))
        text = exporting.export(who, tenant)
        return HttpResponse(text, content_type=f"{YAML}; charset=utf-8")

    def post(self, request: Request) -> Response:
        """Make the configuration like a file: all of it or nothing."""
        who = access_of(request)
        options = _flags(request)
        if not any(
            right != "view" for held in (who.platform, *who.grants.values()) for _, right in held
        ):
            raise PermissionDenied
        found = document.read(request._request.body)
        if not who.is_operator and _count(found) > MOST_OF_TENANTS:
            told = f"A tenant's token applies at most {MOST_OF_TENANTS} objects at once."
            raise ValidationError(told)
        plan = applying.apply(
            who, found, SecretsKept(), prune=options["prune"], dry_run=options["dry_run"]
        )
        shown = plan.as_json(
            dry_run=options["dry_run"],
            with_secrets=options["show_secrets"] and not options["dry_run"],
        )
        return Response(shown, headers={"cache-control": "no-store"})


def _tenant(who: Access, slug: str | None) -> Tenant | None:
    """Return the tenant to write; None for the platform and all. Raise Http404 for one they may not see."""
    mine = (
        Tenant.objects.all() if who.sees_all_tenants else Tenant.objects.filter(pk__in=who.tenants)
    )
    if slug is None:
        return None if who.sees_all_tenants else mine.get()
    found = mine.filter(slug=slug).first() if "\0" not in slug else None
    if found is None:
        raise Http404
    return found


def _flags(request: Request) -> dict[str, bool]:
    _refuse_unknown(request, FLAGS)
    words = {"true": True, "false": False}
    found = {}
    for name in FLAGS:
        text = request.query_params.get(name, "false")
        if text not in words:
            raise errors.InvalidFields({name: ["Write true or false."]})
        found[name] = words[text]
    return found


def _refuse_unknown(request: Request, names: Iterable[str]) -> None:
    if unknown := sorted(set(request.query_params) - set(names)):
        raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})


def _count(found: Any) -> int:
    """Return how many mappings there are in a file, at any depth."""
    waiting, count = [found], 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            count += isinstance(each, dict)
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return count
