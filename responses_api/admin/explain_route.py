"""Console page that explains where a request would go."""

from __future__ import annotations

from typing import Any

import orjson
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from gateway_project.lib.commands import in_words
from responses_api.app_state import routing_state_of
from responses_api.calls import explain_words
from responses_api.calls.explain import (
    MAX_BODY,
    ExplainedLane,
    RouteExplanation,
    RouteQuestion,
    alias_seen,
    explain,
    key_seen,
)
from responses_api.doors.registry import DOORS
from tenants.access.rights import Area
from tenants.console.pages import ConsolePage, console_page
from tenants.console.scope import Scope

REASONS = {
    "disabled": gettext_lazy("It, or its provider, is disabled."),
    "when": gettext_lazy("It is not meant for such requests."),
    "capability": gettext_lazy("Its model lacks what the request needs."),
    "window": gettext_lazy("The input is longer than its model's window."),
    "no_credential": gettext_lazy("Its provider has no credential that can be used."),
    "unpriced": gettext_lazy("It has no price, and a hard budget needs one."),
    "open": gettext_lazy("It is left alone after failures."),
    "not_native": gettext_lazy(
        "It does not speak the client's format, and the alias demands that."
    ),
    "budget": gettext_lazy("The budget does not pay for it."),
    "too_many": gettext_lazy("The alias has more than are looked at."),
}
FACTS = {
    "input_tokens": gettext_lazy("Input tokens, estimated"),
    "needs": gettext_lazy("Needs"),
    "tags": gettext_lazy("Tags"),
    "reasoning_effort": gettext_lazy("Reasoning effort"),
    "budget_used_percent": gettext_lazy("Budget used, percent"),
}


@console_page
class ExplainRoutePage(ConsolePage):
    """The targets that a request would be sent to, in order, and the others with the reason.

    `alias` and `key` of the address choose; a form gives the request's format and body. Nothing is called.
    """

    path = "explain-route"
    name = "explain_route"
    title = gettext_lazy("Where a request goes")
    template = "console/explain_route.html"
    area = Area.ALIASES
    methods = frozenset({"GET", "HEAD", "POST"})

    def context(self, request: HttpRequest, scope: Scope, **captured: Any) -> dict[str, Any]:
        given = {
            "alias": _given(request, scope, "alias"),
            "key": _given(request, scope, "key"),
            "route": request.POST.get("route", "")[:100],
            "body": request.POST.get("body", "")[: MAX_BODY + 1],
        }
        told: dict[str, Any] = {"given": given, "routes": _routes(), "problem": ""}
        if not given["alias"]:
            return told
        try:
            found = _explained(request, scope, given)
        except ValidationError as error:
            return {**told, "problem": in_words(error)}
        return {**told, **_shown(found)}


def _given(request: HttpRequest, scope: Scope, name: str) -> str:
    return request.POST.get(name, scope.filters.get(name, "")).replace("\0", "").strip()[:300]


def _routes() -> list[str]:
    return [door.name for door in DOORS.values() if door.generates]


def _explained(request: HttpRequest, scope: Scope, given: dict[str, str]) -> RouteExplanation:
    question = RouteQuestion(
        model=alias_seen(scope.who, given["alias"]).name,
        tenant=scope.tenant,
        key=key_seen(scope.who, given["key"]) if given["key"] else None,
        route=given["route"],
        body=_body(given["body"]),
    )
    return explain(scope.who, question, *routing_state_of(request))


def _body(text: str) -> dict[str, Any] | None:
    if not text.strip():
        return None
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValidationError(
            {"body": _("This is not valid JSON: %(error)s.") % {"error": error}}
        ) from None
    if not isinstance(body, dict):
        raise ValidationError({"body": _("This is no JSON object.")})
    return body


def _shown(found: RouteExplanation) -> dict[str, Any]:
    facts = explain_words.facts_as_json(found.facts)
    known = [(label, _text(facts[name])) for name, label in FACTS.items() if facts[name]]
    return {
        "found": found,
        "strategy": found.route.policy.strategy,
        "facts": known,
        "kept": [_kept(each, found.at) for each in found.lanes if each.place is not None],
        "dropped": [_dropped(each) for each in found.lanes if each.place is None],
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _kept(each: ExplainedLane, now: float) -> dict[str, Any]:
    until = each.health.open_until
    return {
        "lane": each,
        "seconds": None if until is None else max(int(until - now), 0),
    }


def _dropped(each: ExplainedLane) -> dict[str, Any]:
    return {"lane": each, "reason": REASONS.get(each.reason, each.reason)}
