"""Check what a gateway talks to beside its database, and the processes that belong to it."""

from __future__ import annotations

import redis
from django.conf import settings
from django.utils.translation import gettext as _

from gateway_project.doctor.facts import Facts
from gateway_project.doctor.findings import Finding, Findings
from gateway_project.serving import peers
from tenants import heartbeats

REDIS_SECONDS = 2.0
OTLP_SECONDS = 2.0
OTLP_GRPC_PORT = 4317
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def check_redis() -> Findings:
    if settings.REDIS_URL is None:
        message = _(
            "REDIS_URL is not set: run one worker process on one host only, because limits and running "
            "calls are counted within the process"
        )
        yield Finding("hint", "redis", message)
        return
    try:
        client = redis.Redis.from_url(
            settings.REDIS_URL.reveal(),
            socket_connect_timeout=REDIS_SECONDS,
            socket_timeout=REDIS_SECONDS,
        )
        with client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        yield Finding(
            "broken",
            "redis",
            _("REDIS_URL is set, but cannot be used: %(error)s") % {"error": type(error).__name__},
        )
        return
    yield Finding("ok", "redis", _("answers"))


def check_traces() -> Findings:
    """Check that the collector of traces takes an export, which is empty."""
    endpoint = settings.OTLP_ENDPOINT
    if endpoint is None:
        return
    answer = endpoint.post(b'{"resourceSpans":[]}', timeout_seconds=OTLP_SECONDS)
    if not answer.problem:
        yield Finding("ok", "traces", str(endpoint))
        return
    told = {"endpoint": endpoint, "problem": answer.problem}
    message = _("%(endpoint)s does not take traces: %(problem)s") % told
    yield Finding("hint", "traces", message)
    if endpoint.port == OTLP_GRPC_PORT:
        message = _("4317 is the usual port of OTLP over gRPC; that of OTLP over HTTP is 4318")
        yield Finding("hint", "traces", message)


def check_tasks() -> Findings:
    if settings.TASKS == "celery":
        message = _(
            "manage.py background_worker and manage.py beat do background and periodic work"
        )
        yield Finding(
            "ok", "tasks", message
        )  # those that are missing are findings of `check_processes`
    else:
        yield Finding("ok", "tasks", _("serve does background and periodic work itself"))


def check_metrics() -> Findings:
    """Tell where Prometheus reads, and whether strangers may."""
    if not settings.IS_MEASURED:
        message = _("nobody can read them; set TOLLGATE_METRICS_PORT or TOLLGATE_METRICS_TOKEN")
        yield Finding("ok", "metrics", message)
        return
    if settings.METRICS_PORT is None:
        yield Finding("ok", "metrics", _("at /metrics of the gateway, with the token"))
        return
    address = f"{settings.METRICS_HOST}:{settings.METRICS_PORT}"
    if settings.METRICS_TOKEN is None and settings.METRICS_HOST not in LOOPBACK:
        message = _("whoever reaches %(address)s can read them; set TOLLGATE_METRICS_TOKEN")
        yield Finding("hint", "metrics", message % {"address": address})
        return
    yield Finding("ok", "metrics", _("at %(address)s/metrics") % {"address": address})


def check_processes(facts: Facts) -> Findings:
    """Check that the background processes show signs of life."""
    alive = [(sign.role, sign.host) for sign in facts.processes if sign.is_alive]
    for sentence in heartbeats.missing_among(alive, peers.QUEUES, tasks=settings.TASKS):
        yield Finding("hint", "processes", sentence)
