"""Fields of forms for columns that hold a list of known words: boxes to tick."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from routing.route import CAPABILITIES, FALL_BACKS
from tenants.console.scoped_forms import TenantForm
from tenants.theme import Checkboxes

FAILURES: dict[str, str | Promise] = {
    "unavailable": _("unavailable: it cannot be reached, or fails"),
    "no_answer": _("no_answer: it does not begin to answer, though the call was sent"),
    "rate_limit": _("rate_limit: too many calls at a time"),
    "quota": _("quota: its credit is used up"),
    "auth": _("auth: it refuses the credential"),
    "context_length": _("context_length: the input is too long for it"),
    "content_policy": _("content_policy: it refuses the content"),
}
assert FAILURES.keys() == set(FALL_BACKS)

CAPABILITY_LABELS: dict[str, str | Promise] = {
    "reasoning": _("reasoning: it thinks before it answers"),
    "vision": _("vision: it reads images"),
    "tools": _("tools: it calls tools"),
    "structured_output": _("structured_output: it keeps to a schema"),
    "files": _("files: it reads files"),
}
assert CAPABILITY_LABELS.keys() == CAPABILITIES


class AliasForm(TenantForm):
    fall_back_on = forms.MultipleChoiceField(
        label=_("Fall back on"),
        choices=list(FAILURES.items()),
        widget=Checkboxes,
        required=False,
        help_text=_("The kinds of failure after which another target is asked."),
    )


class ProviderModelForm(TenantForm):
    capabilities = forms.MultipleChoiceField(
        label=_("Capabilities"),
        choices=list(CAPABILITY_LABELS.items()),
        widget=Checkboxes,
        required=False,
    )

    def clean_capabilities(self) -> list[Any]:
        return sorted(self.cleaned_data["capabilities"])
