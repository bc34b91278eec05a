"""Give entry points the services of the worker process that serves a request."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from gateway_project.lib.asgi import Scope
from responses_api.background.local import LocalRuns
from responses_api.cache.answers import AnswerCache
from responses_api.idempotency.calls import IdempotentCalls
from responses_api.live.circuits import Circuits
from responses_api.live.in_flight import InFlightCalls
from responses_api.services import Services
from routing.policy.affinity import AffinityMemory
from routing.policy.lane_health import Health

# The key in every request's scope; the ASGI application sets it.
KEY = "tollgate.state"


@dataclass(frozen=True, slots=True)
class AppState:
    """Hold what calls are made with, and what is built on it."""

    services: Services
    runs: LocalRuns
    idempotent_calls: IdempotentCalls
    in_flight: InFlightCalls
    answer_cache: AnswerCache


def of(scope: Scope) -> AppState:
    """Return the state behind a request."""
    state: AppState = scope[KEY]
    return state


def in_flight_of(request: HttpRequest) -> InFlightCalls:
    """Return what asks for running calls; outside a worker it can ask over Redis only."""
    state: AppState | None = getattr(request, "scope", {}).get(KEY)
    return InFlightCalls(None, settings.REDIS_URL) if state is None else state.in_flight


def circuits_of(request: HttpRequest) -> Circuits:
    """Return what knows the circuits; outside a worker those that are in Redis only."""
    state: AppState | None = getattr(request, "scope", {}).get(KEY)
    return Circuits(None if state is None else state.services.lane_health, settings.REDIS_URL)


def routing_state_of(request: HttpRequest) -> tuple[Health | None, AffinityMemory | None]:
    """Return what this worker knows of lanes, and of which answered; nothing outside a worker."""
    state: AppState | None = getattr(request, "scope", {}).get(KEY)
    if state is None:
        return None, None
    return state.services.lane_health, state.services.affinity
