"""Serve the circuits that are open, and close one."""

from __future__ import annotations

from typing import Any, ClassVar

from asgiref.sync import async_to_sync
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway_project.lib import errors
from responses_api.app_state import circuits_of
from responses_api.live import circuits
from tenants.access.rights import Area
from tenants.api.base import ManagementView, access_of, body_of, refuse_unless_somewhere


class OpenCircuitSerializer(serializers.Serializer[Any]):
    """An open circuit: what it is for is left alone."""

    circuit = serializers.CharField(help_text="Its name, by which it is reset.")
    kind = serializers.ChoiceField(choices=("provider", "model", "credential", "credential_model"))
    provider = serializers.CharField()
    model = serializers.CharField(help_text="Empty if it is about all models.")
    credential = serializers.CharField(help_text="The credential's name; empty if it is about all.")
    opened_by = serializers.ChoiceField(
        choices=("failures", "hold"),
        help_text="`hold`: the provider asked to be left alone, or the account cannot be used.",
    )
    reason = serializers.CharField(help_text="The code of the error that opened it.")
    openings = serializers.IntegerField(help_text="How often in a row.")
    seconds = serializers.FloatField(help_text="Until it may be tried again; 0 once it may.")


class CircuitsSerializer(serializers.Serializer[Any]):
    data = OpenCircuitSerializer(many=True)  # type: ignore[assignment]  # the field, not the property
    reach = serializers.ChoiceField(
        choices=("all", "alone", "cut_off"),
        help_text="Of all workers; of this one, without Redis; or of this one, as Redis is away.",
    )


class ResetCircuitSerializer(serializers.Serializer[Any]):
    circuit = serializers.CharField()


class CircuitsView(ManagementView):
    """List the circuits that are open."""

    operation = "circuits_list"
    serializer_class = CircuitsSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def get(self, request: Request) -> Response:
        if unknown := sorted(request.query_params):
            raise errors.InvalidFields({name: ["There is no such parameter."] for name in unknown})
        refuse_unless_somewhere(access_of(request), "view", Area.PROVIDERS)
        shown = async_to_sync(circuits.see)(circuits_of(request._request), access_of(request))
        return Response({"data": [each.fields for each in shown.circuits], "reach": shown.reach})


class ResetCircuitView(ManagementView):
    """Close a circuit on all workers, so that the next call tries what it is for."""

    operation = "circuits_reset"
    serializer_class = ResetCircuitSerializer
    asked: ClassVar[dict[str, dict[str, Any]]] = {}

    def post(self, request: Request) -> Response:
        name = body_of(request, ("circuit",)).get("circuit")
        if not isinstance(name, str):
            raise errors.InvalidFields({"circuit": ["Give the name of an open circuit."]})
        known = circuits_of(request._request)
        closed = async_to_sync(circuits.reset)(known, access_of(request), name)
        return Response({"circuit": closed.name})
