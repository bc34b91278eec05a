"""Route paths of stored things and webhooks under /api/v1/."""

from __future__ import annotations

from django.urls import path

from responses_api.api import guardrails, hooks, kept
from responses_api.api.circuits import CircuitsView, ResetCircuitView
from responses_api.api.explaining import ExplainRouteView
from responses_api.api.in_flight import BackgroundView, CancelRunView, InFlightView, StopView
from responses_api.api.purges import PurgeView
from tenants.api.rows import routes

urlpatterns = [
    *routes("responses", kept.StoredResponseRows),
    *routes("conversations", kept.ConversationRows),
    path("purges", PurgeView.as_view(), name="purges"),
    *routes("webhooks", hooks.EndpointRows),
    *routes("webhook-deliveries", hooks.DeliveryRows),
    *routes("guardrails", guardrails.GuardrailRows),
    *routes("guardrail-events", guardrails.GuardrailEventRows),
    path("guardrail-tests", guardrails.GuardrailTestView.as_view(), name="guardrail_tests"),
    path("explain-route", ExplainRouteView.as_view(), name="explain_route"),
    path("in-flight", InFlightView.as_view(), name="in_flight"),
    path("in-flight/<str:request_id>/stop", StopView.as_view(), name="stop_request"),
    path("circuits", CircuitsView.as_view(), name="circuits"),
    path("circuits/reset", ResetCircuitView.as_view(), name="reset_circuit"),
    path("background", BackgroundView.as_view(), name="background"),
    path("background/<str:response_id>/cancel", CancelRunView.as_view(), name="cancel_response"),
]
