"""Name states of responses and deliveries for people: a word, a sign and a tone, never colour alone."""

from __future__ import annotations

from typing import TypedDict

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from responses_api.models import Status, WebhookDelivery


class KeptStateWords(TypedDict):
    """Says how a state is shown."""

    label: str | Promise
    icon: str
    tone: str


_State = WebhookDelivery.State
_OF_DELIVERIES: dict[str, KeptStateWords] = {
    _State.PENDING: {"label": _("on its way"), "icon": "…", "tone": "idle"},
    _State.DELIVERED: {"label": _("delivered"), "icon": "✓", "tone": "good"},
    _State.GIVEN_UP: {"label": _("given up"), "icon": "✕", "tone": "bad"},
}
_OF_RESPONSES: dict[str, KeptStateWords] = {
    Status.QUEUED: {"label": _("queued"), "icon": "…", "tone": "idle"},
    Status.IN_PROGRESS: {"label": _("running"), "icon": "…", "tone": "idle"},
    Status.COMPLETED: {"label": _("completed"), "icon": "✓", "tone": "good"},
    Status.INCOMPLETE: {"label": _("incomplete"), "icon": "◐", "tone": "warn"},
    Status.FAILED: {"label": _("failed"), "icon": "✕", "tone": "bad"},
    Status.CANCELLED: {"label": _("cancelled"), "icon": "○", "tone": "idle"},
}
DELIVERY_STATES = {str(state): words["label"] for state, words in _OF_DELIVERIES.items()}
RESPONSE_STATES = {str(state): words["label"] for state, words in _OF_RESPONSES.items()}


def delivery_words(state: str) -> KeptStateWords:
    return _OF_DELIVERIES.get(state) or {"label": state, "icon": "?", "tone": "idle"}


def response_words(status: str) -> KeptStateWords:
    return _OF_RESPONSES.get(status) or {"label": status, "icon": "?", "tone": "idle"}
