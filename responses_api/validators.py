"""Validate the fields of webhook endpoints and guardrails."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

# https://platform.openai.com/docs/guides/webhooks: those of background responses. The last is ours.
BUDGET_THRESHOLD = "budget.threshold"
WEBHOOK_EVENTS = (
    "response.completed",
    "response.failed",
    "response.incomplete",
    "response.cancelled",
    BUDGET_THRESHOLD,
)
# Sent when somebody asks for it, whichever events the endpoint has chosen.
TEST_EVENT = "webhook.test"


def validate_webhook_url(value: str) -> None:
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValidationError(
            _("%(value)s is not an address: %(error)s.") % {"value": repr(value), "error": error}
        ) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good:
        raise ValidationError(_("%(value)s is not an http(s) address.") % {"value": repr(value)})
    if "\\" in value or any(character <= " " for character in value):
        raise ValidationError(
            _("The address must not contain backslashes, spaces or control characters.")
        )
    if parts.username is not None or parts.fragment:
        raise ValidationError(_("The address must not contain a user, password or fragment."))


def validate_webhook_events(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError(_("Events must be a list of names."))
    if unknown := sorted(set(value) - set(WEBHOOK_EVENTS)):
        known = ", ".join(WEBHOOK_EVENTS)
        raise ValidationError(
            _("Unknown event %(unknown)s; the events are %(known)s.")
            % {"unknown": repr(unknown[0]), "known": known}
        )


GUARDRAIL_STAGES = ("input", "output", "tools")
_GUARDRAIL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def validate_guardrail_name(value: str) -> None:
    if not _GUARDRAIL_NAME.fullmatch(value):
        raise ValidationError(
            _("A name is made of small letters, digits, hyphens and underscores.")
        )


def validate_guardrail_stages(value: Any) -> None:
    if not isinstance(value, list) or not value or len(set(map(str, value))) < len(value):
        raise ValidationError(_("Stages must be a list of one or more, each once."))
    if unknown := [each for each in value if each not in GUARDRAIL_STAGES]:
        known = ", ".join(GUARDRAIL_STAGES)
        raise ValidationError(
            _("Unknown stage %(unknown)s; the stages are %(known)s.")
            % {"unknown": repr(unknown[0]), "known": known}
        )
