"""Serve what runs at this moment, and stop it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from asgiref.sync import async_to_sync
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from responses_api.app_state import in_flight_of
from responses_api.live import background, viewing
from responses_api.live.in_flight import PlacedCall
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.api.base import (
    ManagementView,
    access_of,
    body_of,
    refuse_unless_somewhere,
    tenant_asked_for,
)


class RunningCallSerializer(serializers.Serializer[Any]):
    """A call that is running."""

    request_id = serializers.CharField()
    tenant = serializers.IntegerField(source="tenant_id")
    key = serializers.CharField(help_text="The key's public id.")
    route = serializers.CharField()
    alias = serializers.CharField()
    target = serializers.CharField(
        help_text="The provider and model it was sent to last; empty before that."
    )
    attempt = serializers.IntegerField(help_text="1 for the first target.")
    phase = serializers.ChoiceField(
        choices=(
            "preparing", "shortening", "waiting", "streaming", "stalled", "storing", "ending",
        )
    )  # fmt: skip
    channel = serializers.ChoiceField(choices=("request", "stream", "socket", "background"))
    elapsed_ms = serializers.IntegerField()
    tokens = serializers.IntegerField(help_text="Output tokens counted so far.")
    held_nano = serializers.IntegerField(
        allow_null=True, help_text="Held in budgets; null where none limits the call."
    )
    host = serializers.CharField(allow_null=True, help_text="Its worker; null for tenants.")
    pid = serializers.IntegerField(allow_null=True)


class InFlightSerializer(serializers.Serializer[Any]):
    data = RunningCallSerializer(many=True)  # type: ignore[assignment]  # the field, not the property
    total = serializers.IntegerField(help_text="Of which `data` has the 200 oldest.")
    workers_asked = serializers.IntegerField()
    workers_answered = serializers.IntegerField(help_text="Within 300 milliseconds.")


class StoppedSerializer(serializers.Serializer[Any]):
    request_id = serializers.CharField()
    is_stopped = serializers.BooleanField(
        help_text="False if the answer was whole before, or its worker did not say in time."
    )
    after_ms = serializers.IntegerField(allow_null=True)
    tokens = serializers.IntegerField(allow_null=True)
    charge_nano = serializers.IntegerField(allow_null=True)


class InFlightView(ManagementView):
    """List the calls that are running, the 200 oldest first, from all workers that answer."""

    operation = "in_flight_list"
    serializer_class = InFlightSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {"tenant": {"type": "integer"}}

    def get(self, request: Request) -> Response:
        who = access_of(request)
        tenant = _asked_tenant(who, request.query_params.dict(), self.asked)
        calls = in_flight_of(request._request)
        shown = async_to_sync(viewing.see)(calls, who, tenant).in_flight
        return Response(
            {
                "data": [_fields(each) for each in shown.calls],
                "total": shown.total,
                "workers_asked": shown.asked,
                "workers_answered": shown.answered,
            }
        )


class StopView(ManagementView):
    """Stop the running call of a request, on whichever worker it runs."""

    operation = "in_flight_stop"
    serializer_class = StoppedSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def post(self, request: Request, request_id: str) -> Response:
        body_of(request, ())
        calls = in_flight_of(request._request)
        stopped = async_to_sync(viewing.stop)(calls, access_of(request), request_id).stopped
        return Response(
            {
                "request_id": request_id,
                "is_stopped": stopped is not None and stopped.was_running,
                "after_ms": None if stopped is None else stopped.after_ms,
                "tokens": None if stopped is None else stopped.tokens,
                "charge_nano": None if stopped is None else stopped.charge_nano,
            }
        )


class BackgroundRunSerializer(serializers.Serializer[Any]):
    """A response that is queued or being made in the background."""

    response_id = serializers.CharField()
    tenant = serializers.IntegerField(source="tenant_id")
    key = serializers.CharField(help_text="The key's public id.")
    alias = serializers.CharField()
    status = serializers.ChoiceField(choices=("queued", "in_progress"))
    worker = serializers.CharField(
        help_text="The process that makes it; empty while it is queued, and for tenants."
    )
    attempts = serializers.IntegerField()
    queued_at = serializers.DateTimeField()
    lease_until = serializers.DateTimeField(allow_null=True)


class BackgroundSerializer(serializers.Serializer[Any]):
    data = BackgroundRunSerializer(many=True)  # type: ignore[assignment]  # the field, not the property
    has_more = serializers.BooleanField(help_text="Whether there are more than the 200 oldest.")


class CancelledSerializer(serializers.Serializer[Any]):
    response_id = serializers.CharField()
    status = serializers.CharField(help_text="`cancelled`, unless it had ended before.")


class BackgroundView(ManagementView):
    """List the responses that are queued or being made in the background, oldest first."""

    operation = "background_list"
    serializer_class = BackgroundSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {"tenant": {"type": "integer"}}

    def get(self, request: Request) -> Response:
        return Response(self.told(access_of(request), request.query_params.dict()))

    def told(self, who: Access, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what is asked for by these parameters."""
        tenants = viewing.visible_tenants(who, _asked_tenant(who, given, self.asked))
        found = background.unfinished(who, tenants)
        data = [
            {
                **{
                    name: getattr(run, str(name), None) for name in BackgroundRunSerializer().fields
                },
                "tenant": run.tenant_id,
            }
            for run in found.runs
        ]
        return {"data": data, "has_more": found.has_more}


class CancelRunView(ManagementView):
    """Cancel a response in the background."""

    operation = "background_cancel"
    serializer_class = CancelledSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def post(self, request: Request, response_id: str) -> Response:
        body_of(request, ())
        status = background.cancel(access_of(request), response_id)
        return Response({"response_id": response_id, "status": status})


def _asked_tenant(who: Access, given: Mapping[str, str], known: dict[str, Any]) -> int | None:
    """Return the tenant that is asked about. Raise PermissionDenied, InvalidFields or Http404."""
    refuse_unless_somewhere(who, "view", Area.USAGE)
    if unknown := sorted(set(given) - known.keys()):
        raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})
    tenant = tenant_asked_for(who, given.get("tenant"))
    return None if tenant is None else tenant.pk


def _fields(placed: PlacedCall) -> dict[str, Any]:
    row = placed.call
    told = {str(name): getattr(row, str(name), None) for name in RunningCallSerializer().fields}
    worker = placed.worker
    host, pid = (None, None) if worker is None else (worker.host, worker.pid)
    return {**told, "tenant": row.tenant_id, "host": host, "pid": pid}
