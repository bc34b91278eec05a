"""Explain where a call would go, by the functions that live calls are planned with; nothing is called."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from django.core.exceptions import ValidationError
from msgspec import structs

from gateway_project.lib import clock
from gateway_project.lib.errors import GatewayError
from gateway_project.lib.structure import Caps
from responses_api.calls import facts as call_facts
from responses_api.calls import targets
from responses_api.doors.door import Door
from responses_api.doors.registry import DOORS, RESPONSES
from responses_api.doors.shapes import ModelCall
from routing import resolve
from routing.managed import ALIASES, CREDENTIALS, PROVIDERS
from routing.models import Alias, Credential, Provider
from routing.policy import reasons
from routing.policy.affinity import AffinityMemory
from routing.policy.facts import CallFacts
from routing.policy.lane_health import AllHealthy, Health, LaneHealth
from routing.policy.plan import plan
from routing.route import ResolvedTarget, Route
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.keys import caller as callers
from tenants.keys.caller import Caller
from tenants.models import ApiKey, Tenant

MAX_BODY = 1_000_000
# Shares are counted over so many plans, divided by the lanes of each: within a few percent of what they are.
DRAWN_LANES = 20_000
SEED = 1


@dataclass(frozen=True, slots=True)
class RouteQuestion:
    """A request that somebody thinks of: with a key, or else as a key of the tenant that may do everything.

    `route` is the door's name; empty: the one whose words the body has. Without a body it is a short one.
    """

    model: str
    tenant: Tenant | None = None
    key: ApiKey | None = None
    route: str = ""
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExplainedLane:
    """A lane and what becomes of it. `place` counts from 1, `share` is the percentage of such calls that
    begin there; both None if it is dropped, for the `reason`."""

    lane: ResolvedTarget
    health: LaneHealth
    credential: str
    place: int | None = None
    share: int | None = None
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RouteExplanation:
    """The lanes that a call would be tried on. `refusal`: what its client would be told instead, if it would
    be refused. `hidden`: lanes that whoever asks may not see; places count them all the same."""

    route: Route
    facts: CallFacts
    lanes: tuple[ExplainedLane, ...]
    refusal: str
    all_open: bool
    hidden: int
    at: float


def explain(
    who: Access,
    question: RouteQuestion,
    health: Health | None = None,
    memory: AffinityMemory | None = None,
    seed: int = SEED,
) -> RouteExplanation:
    """Explain a call. Without `health` every lane counts as healthy. Raise ValidationError."""
    caller = _caller(question)
    route = resolve.find(caller, question.model)
    if route is None:
        who_asks = "A key" if question.key is None else "This key"
        raise ValidationError({"alias": f"{who_asks} may use no alias {question.model[:200]!r}."})
    door, call = _call(question)
    refusal = _refusal(door, call, route)
    route, now = targets.for_door(door, route), clock.timestamp()
    facts = call_facts.gather(door, caller, call, route, (), memory or AffinityMemory())
    health = health or AllHealthy()
    chosen = plan(route, facts, health, now, seed)
    if not refusal and not chosen.kept:
        refusal = targets.no_lane(call.model).message
    shares = _shares(route, facts, health, now)
    lanes = [
        ExplainedLane(lane, health.of(lane, now), lane.credential_name, place, shares[lane.lane_id])
        for place, lane in enumerate(chosen.kept, 1)
    ]
    lanes += [
        ExplainedLane(
            each.lane,
            health.of(each.lane, now),
            each.lane.credential_name,
            reason=each.reason,
            detail=each.detail,
        )
        for each in chosen.dropped
    ]
    shown = _shown_to(who, lanes)
    hidden = len(lanes) - len(shown)
    return RouteExplanation(route, facts, shown, refusal, chosen.all_open, hidden, now)


def _caller(question: RouteQuestion) -> Caller:
    if question.key is None:
        return callers.keyless(question.tenant)
    found = callers.find_by_id(question.key.tenant_id, question.key.public_id)
    if found is None:
        raise ValidationError({"key": "This key has ended, or its tenant is suspended."})
    return found


def _call(question: RouteQuestion) -> tuple[Door, ModelCall]:
    """Read the request as its door does. Raise ValidationError."""
    door = _door(question)
    body = dict(door.example if question.body is None else question.body)
    raw = orjson.dumps({**body, "model": question.model})
    if len(raw) > MAX_BODY:
        raise ValidationError({"body": f"It may have {MAX_BODY} bytes at most."})
    try:
        return door, door.decode(raw, Caps())
    except GatewayError as error:
        raise ValidationError({"body": error.message}) from None


def _door(question: RouteQuestion) -> Door:
    asked = [door for door in DOORS.values() if door.generates]
    if question.route:
        for door in asked:
            if door.name == question.route:
                return door
        known = ", ".join(door.name for door in asked)
        raise ValidationError({"route": f"{question.route[:100]!r} is not one of {known}."})
    body = question.body or {}
    for door in asked:
        if any(name in body for name in door.example):
            return door
    return RESPONSES


def _refusal(door: Door, call: ModelCall, route: Route) -> str:
    try:
        targets.usable_route(door, call, route)
    except GatewayError as error:
        return error.message
    return ""


def _shares(route: Route, facts: CallFacts, health: Health, now: float) -> Mapping[str, int]:
    """Return the percentage of such calls that each lane is the first for, of calls that begin differently
    and were not answered before."""
    fresh = structs.replace(facts, affinity=0, affine_lane="")
    draw = random.Random(SEED)  # noqa: S311  # the same shares for the same question
    firsts: Counter[str] = Counter()
    draws = DRAWN_LANES // (10 + len(route.targets))
    for _ in range(draws):
        kept = plan(route, fresh, health, now, draw.getrandbits(64)).kept
        if kept:
            firsts[kept[0].lane_id] += 1
    return Counter({lane_id: round(100 * count / draws) for lane_id, count in firsts.items()})


def _shown_to(who: Access, lanes: list[ExplainedLane]) -> tuple[ExplainedLane, ...]:
    """Return the lanes at providers that they may see, naming the credentials that they may see. A condition
    of the platform's targets may name what is another tenant's."""
    ids = {each.lane.credential_id for each in lanes if each.lane.credential_id}
    secrets = CREDENTIALS.visible(who, Credential.objects.filter(pk__in=ids))
    named = {str(pk) for pk in secrets.values_list("pk", flat=True)}
    providers = Provider.objects.filter(pk__in={each.lane.provider_id for each in lanes})
    owners = dict(PROVIDERS.visible(who, providers).values_list("pk", "tenant"))
    shown = []
    for each in lanes:
        if each.lane.provider_id not in owners:
            continue
        is_guest = owners[each.lane.provider_id] is None and not who.sees_all_tenants
        credential = each.credential if each.lane.credential_id in named else ""
        detail = "" if is_guest and each.reason == reasons.WHEN else each.detail
        shown.append(replace(each, credential=credential, detail=detail))
    return tuple(shown)


def tenant_seen(who: Access, tenant_id: int | None) -> Tenant | None:
    """Return a tenant whose aliases they may see; None stands for the platform. Raise ValidationError."""
    if tenant_id is None:
        return None
    found = Tenant.objects.filter(pk=tenant_id).first()
    if found is None or not who.may("view", Area.ALIASES, found.pk):
        raise ValidationError({"tenant": "There is no such tenant."})
    return found


def alias_seen(who: Access, name: str) -> Alias:
    """Return an alias of this name that they may see. Raise ValidationError."""
    found = ALIASES.visible(who, Alias.objects.filter(name=name)).first()
    if found is None:
        raise ValidationError({"alias": f"There is no alias {name!r}."})
    return found


def key_seen(who: Access, public_id: str) -> ApiKey:
    """Return a key that they may see. Raise ValidationError."""
    found = ApiKey.objects.filter(public_id=public_id.replace("\0", "")).first()
    if found is None or not who.may("view", Area.KEYS, found.tenant_id):
        raise ValidationError({"key": "There is no such key."})
    return found
