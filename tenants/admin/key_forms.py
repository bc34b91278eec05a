"""Forms of API keys: what a key may do is ticked, addresses are written one a line."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants.console.scoped_forms import TenantForm
from tenants.keys import key_changes
from tenants.theme import Checkboxes, LinesField, Select, TextInput
from tenants.validators import SCOPES

SCOPE_LABELS: dict[str, str | Promise] = {
    "generate": _("generate: ask models, cancel background responses"),
    "models": _("models: list the models"),
    "read": _("read: get back what is stored, and its own usage"),
    "store": _("store: keep responses and conversations, change and delete them"),
}
assert SCOPE_LABELS.keys() == SCOPES

OVERLAPS = (
    ("24h", _("in 24 hours")),
    ("1h", _("in an hour")),
    ("7d", _("in 7 days")),
    ("0s", _("at once")),
)


class ScopesField(forms.MultipleChoiceField):
    """The scopes of a key, ticked."""

    def __init__(self, **options: Any) -> None:
        choices = tuple(SCOPE_LABELS.items())
        defaults = {"choices": choices, "widget": Checkboxes, "required": False}
        super().__init__(**{**defaults, **options})


class NetworksField(LinesField):
    """Networks from which a key may be used, one a line."""

    def __init__(self, **options: Any) -> None:
        defaults = {
            "required": False,
            "rows": 3,
            "label": _("Allowed networks"),
            "help_text": _("One a line, such as 10.0.0.0/8. Empty: it may be used from anywhere."),
        }
        super().__init__(**{**defaults, **options})


class KeyForm(TenantForm):
    scopes = ScopesField(label=_("Scopes"))
    allowed_networks = NetworksField()


class RotateForm(forms.Form):
    """The end of the old secret, asked before a key is rotated."""

    overlap = forms.ChoiceField(
        label=_("The old secret ends"), choices=OVERLAPS, required=False, widget=Select
    )


class RevokeForm(forms.Form):
    """The reason, asked on the confirmation page."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=key_changes.MAX_REASON_LENGTH,
        required=False,
        widget=TextInput,
        help_text=_("Optional; kept with the key."),
    )
