"""Serve re-ratings: what another price would change of the past, as a task that waits to be confirmed."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from routing import rerating
from tenants.access.rights import Area
from tenants.api.base import ManagementView, access_of, body_of
from tenants.api.long_work import TaskSerializer, span_in, tenant_in, text_in, told_task
from tenants.models import PriceVersion

FIELDS = ("version", "tenant", "start", "end", "reason", "with_unpriced")


class ReratingSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(help_text="A published price that tenants are charged.")
    tenant = serializers.IntegerField(required=False, allow_null=True, help_text="Null: of all.")
    start = serializers.DateTimeField(
        required=False, help_text="The month's beginning if left out."
    )
    end = serializers.DateTimeField(required=False, help_text="Now if left out.")
    reason = serializers.CharField(max_length=300)
    with_unpriced = serializers.BooleanField(
        required=False, help_text="Also calls that had no price, and were charged nothing."
    )


class ReratingView(ManagementView):
    """Begin to tell what another price would change of past requests; only operators may.

    Nothing changes before the task is confirmed.
    """

    operation = "reratings_create"
    serializer_class = TaskSerializer
    body_class = ReratingSerializer
    status_of_success = 201

    def post(self, request: Request) -> Response:
        who = access_of(request)
        if (Area.BILLING, "change") not in who.platform:
            raise PermissionDenied
        body = body_of(request, FIELDS)
        tenant = tenant_in(who, body)
        start, end = span_in(body, tenant)
        with_unpriced = body.get("with_unpriced", False)
        if not isinstance(with_unpriced, bool):
            raise errors.InvalidFields({"with_unpriced": ["Write true or false."]})
        task = rerating.ask(
            who,
            _version(body.get("version")),
            tenant,
            start,
            end,
            reason=text_in(body, "reason"),
            with_unpriced=with_unpriced,
        )
        return Response(told_task(who, task), status=201)


def _version(key: Any) -> PriceVersion:
    is_key = isinstance(key, int) and not isinstance(key, bool) and 0 < key < 2**63
    found: PriceVersion | None = PriceVersion.objects.filter(pk=key).first() if is_key else None
    if found is None:
        raise errors.InvalidFields({"version": ["There is no such price version."]})
    return found
