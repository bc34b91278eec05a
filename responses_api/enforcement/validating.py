"""Check what is saved as a guardrail: its configuration by kind, and what its kind and action go with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from responses_api.enforcement import specs
from responses_api.enforcement.external.config import WebhookConfig, read_config
from responses_api.guardrails import config as local
from responses_api.guardrails.engine import compile_guardrails
from responses_api.models import Guardrail

# The stages at which a kind can look.
STAGES = {
    "terms": ("input", "output", "tools"),
    "pattern": ("input", "output", "tools"),
    "pii": ("input", "output", "tools"),
    "secrets": ("input", "output", "tools"),
    "tools": ("input", "output", "tools"),
    "input_limits": ("input",),
    "moderation": ("input", "output", "tools"),
    "webhook": ("input", "output", "tools"),
}
# What these find is not a place in a text.
UNMASKABLE = frozenset({"tools", "input_limits", "moderation"})

Problem = tuple[str, str | Promise]


def check(row: Guardrail) -> None:
    """Raise ValidationError that names every wrong field."""
    errors: dict[str, list[Any]] = {}
    for field, message in (*_of_kind(row), *_of_external(row)):
        errors.setdefault(field, []).append(message)
    if errors:
        raise ValidationError(errors)
    _check_config(row)


def _of_kind(row: Guardrail) -> Iterator[Problem]:
    if set(row.stages) - set(STAGES[row.kind]):
        yield "stages", _("This kind of guardrail does not look there.")
    if row.action == Guardrail.Action.MASK and row.kind in UNMASKABLE:
        yield "action", _("This kind of guardrail finds nothing that could be masked.")
    is_local_mask = row.action == Guardrail.Action.MASK and not row.is_external
    if row.reversible and not (is_local_mask and "input" in row.stages):
        yield "reversible", _("Only masks of the input by a check of our own can be put back.")


def _of_external(row: Guardrail) -> Iterator[Problem]:
    if row.parallel and "input" not in row.stages:
        yield "parallel", _("Only checks of the input can be asked beside the call.")
    if row.parallel and row.action == Guardrail.Action.MASK:
        yield "parallel", _("What has been sent cannot be masked any more.")
    provider = row.provider
    if provider is not None and not specs.may_ask(row, provider):
        yield "provider", _("Choose a provider that takes credentials of the guardrail's owner.")


def _check_config(row: Guardrail) -> None:
    """Raise ValidationError unless the configuration can be used."""
    try:
        if row.is_external:
            read_config(row.kind, row.config)
        else:
            local.validate(row.kind, row.config)  # type: ignore[arg-type]  # one of its choices
            compile_guardrails((specs.spec_of(row),))
    except ValueError as error:
        raise ValidationError({"config": str(error)}) from None


def is_signed(row: Guardrail) -> bool:
    """Return whether its questions are signed as webhooks are."""
    if row.kind != Guardrail.Kind.WEBHOOK:
        return False
    try:
        config = read_config(row.kind, row.config)
    except ValueError:
        return False
    return isinstance(config, WebhookConfig) and config.dialect == "tollgate"
