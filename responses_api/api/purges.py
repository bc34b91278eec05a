"""Serve purges: how much a tenant has stored before a moment, as a task that waits to be confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from responses_api.storage import purging
from tenants.access.rights import Area
from tenants.api.base import ManagementView, access_of, body_of
from tenants.api.long_work import TaskSerializer, instant_in, tenant_in, told_task


class PurgeSerializer(serializers.Serializer[Any]):
    tenant = serializers.IntegerField(
        required=False, help_text="May be left out by a token of one tenant."
    )
    before = serializers.DateTimeField(help_text="What was stored before this instant is deleted.")
    kinds = serializers.ListField(
        required=False,
        child=serializers.ChoiceField(choices=tuple(purging.KINDS)),
        help_text="All of them if left out.",
    )


class PurgeView(ManagementView):
    """Begin to count what a tenant has stored from before an instant, to delete it.

    Nothing is deleted before the task is confirmed.
    """

    operation = "purges_create"
    serializer_class = TaskSerializer
    body_class = PurgeSerializer
    status_of_success = 201

    def post(self, request: Request) -> Response:
        who = access_of(request)
        if not who.may_somewhere("delete", Area.RESPONSES):
            raise PermissionDenied
        body = body_of(request, ("tenant", "before", "kinds"))
        tenant = tenant_in(who, body)
        if tenant is None:
            raise errors.InvalidFields({"tenant": ["Name a tenant."]})
        if (before := instant_in(body, "before")) is None:
            raise errors.InvalidFields({"before": ["This field is required."]})
        task = purging.ask(who, tenant, before, _kinds_in(body))
        return Response(told_task(who, task), status=201)


def _kinds_in(body: Mapping[str, Any]) -> list[str]:
    given = body.get("kinds", list(purging.KINDS))
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise errors.InvalidFields({"kinds": ["Write a list of texts."]})
    return given
