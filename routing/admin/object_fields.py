"""Fields of forms for columns that hold an object: a provider's quirks and limits, a target's conditions."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from routing.admin.list_fields import CAPABILITY_LABELS
from routing.policy.conditions import MAX_TOKENS, TAG
from routing.route import MAX_LIMIT
from tenants.console.parts_field import Parts, PartsField, as_they_are, filled
from tenants.console.scoped_forms import TenantForm
from tenants.theme import Checkbox, Checkboxes, LinesField, NumberInput, Select

Label = Any  # a text or its promise, of which the stubs know only their own kind


def _ticked(label: Label) -> forms.BooleanField:
    return forms.BooleanField(label=label, widget=Checkbox)


def _chosen(label: Label, usual: str | Promise, *names: str) -> forms.ChoiceField:
    choices = [("", usual), *((name, name) for name in names)]
    return forms.ChoiceField(label=label, choices=choices, widget=Select)


def _number(label: Label, least: int, most: int, help_text: Label = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label, min_value=least, max_value=most, help_text=help_text, widget=NumberInput
    )


def _lines(label: Label, help_text: Label) -> LinesField:
    return LinesField(label=label, help_text=help_text, rows=2)


class QuirksField(PartsField):
    """Takes the ways in which a provider differs from its protocol."""

    def __init__(self) -> None:
        usual = _("as usual")
        parts: dict[str, forms.Field] = {
            "no_stream_usage": _ticked(
                _("no_stream_usage: it refuses stream_options, so streamed usage is estimated")
            ),
            "strict_alternation": _ticked(
                _("strict_alternation: it wants user and assistant in turn, and one system message")
            ),
            "translate": _ticked(
                _(
                    "translate: it speaks a dialect; its answers are put into the standard shape, never "
                    "relayed"
                )
            ),
            "runs_on": _ticked(
                _(
                    "runs_on: it writes, and bills, a stream to its end although the connection was closed; "
                    "hard budgets count all that was held for it"
                )
            ),
            "max_tokens_field": _chosen(
                _("max_tokens_field: how it names the limit of an answer"),
                usual,
                *("max_tokens", "max_completion_tokens"),
            ),
            "system_role": _chosen(
                _("system_role: the role it wants instructions in"), usual, "system", "developer"
            ),
            "reasoning_field": _chosen(
                _("reasoning_field: where it wants its thoughts back"),
                _("nowhere"),
                *("reasoning_content", "reasoning"),
            ),
            "thinking": _chosen(
                _("thinking: how it is told to think (Anthropic)"),
                _("by the model's generation"),
                *("budget", "adaptive"),
            ),
            "keepalive_seconds": _number(
                _("keepalive_seconds: how long a connection may be idle and be used again"),
                *(0, 600),
                help_text=_("Less than the provider keeps it; 0: never."),
            ),
        }
        super().__init__(
            parts,
            label=_("Quirks"),
            folded=_("None: it keeps to its protocol"),
            help_text=_("The ways in which it differs from its protocol."),
        )


class ProviderLimitsField(PartsField):
    """Takes what each credential may do at the provider."""

    def __init__(self) -> None:
        super().__init__(
            {
                "requests_per_minute": _number(_("Requests per minute"), 1, MAX_LIMIT),
                "tokens_per_minute": _number(_("Tokens per minute"), 1, MAX_LIMIT),
                "concurrency": _number(_("Calls at the same time"), 1, MAX_LIMIT),
            },
            label=_("Limits at the provider"),
            folded=_("None are known"),
            help_text=_(
                "What each credential may do there. Where little of it is left, others are asked first; "
                "nothing is refused."
            ),
        )


class ConditionsField(PartsField):
    """Takes the calls that a target is for."""

    def __init__(self) -> None:
        parts: dict[str, forms.Field] = {
            "at_least": _number(_("Input tokens, at least"), 0, MAX_TOKENS),
            "at_most": _number(_("Input tokens, at most"), 0, MAX_TOKENS),
            "stream": _chosen_stream(),
            "needs": forms.MultipleChoiceField(
                label=_("It needs all of"),
                choices=sorted(CAPABILITY_LABELS.items()),
                widget=Checkboxes,
            ),
            "budget_used_percent": _number(
                _("Budget used, at least %"), 1, 99, _("Of the budget of which most is used.")
            ),
            "tags": _lines(
                _("Tags"),
                _("A name, a colon and a value, one a line: team: search. Of one name, any value."),
            ),
            "route": _lines(
                _("Formats"), _("One a line, any of: chat, responses, compact, input_tokens.")
            ),
            "reasoning_effort": _lines(
                _("Reasoning efforts"), _("One a line, any of them, such as low and high.")
            ),
            "key": _lines(_("Keys"), _("Public ids, one a line, any of them.")),
        }
        super().__init__(
            parts,
            read=_read_conditions,
            show=_show_conditions,
            label=_("When"),
            folded=_("all calls"),
        )


def _chosen_stream() -> forms.ChoiceField:
    choices = [("", _("streamed or not")), ("true", _("streamed")), ("false", _("not streamed"))]
    return forms.ChoiceField(label=_("Streams"), choices=choices, widget=Select)


def _show_conditions(stored: Any) -> Parts:
    """Take the conditions of a target apart; `{"eq": …}` and `{"in": […]}` are what they hold."""
    shown: Parts = {"tags": []}
    for word, demand in as_they_are(stored).items():
        if word == "input_tokens":
            shown["at_least"], shown["at_most"] = demand.get("gte"), demand.get("lte")
        elif word == "budget_used_percent":
            shown[word] = demand.get("gte")
        elif word == "stream":
            shown[word] = "true" if demand else "false"
        elif word.startswith(TAG):
            shown["tags"] += [f"{word.removeprefix(TAG)}: {each}" for each in _texts(demand)]
        else:
            shown[word] = _texts(demand)
    return shown


def _texts(demand: Any) -> list[str]:
    if isinstance(demand, dict):
        demand = demand.get("in", demand.get("eq"))
    return demand if isinstance(demand, list) else [demand]


def _read_conditions(parts: Parts) -> Parts:
    bounds = filled({"gte": parts.get("at_least"), "lte": parts.get("at_most")})
    percent = filled({"gte": parts.get("budget_used_percent")})
    streams = {"true": True, "false": False}.get(parts.get("stream") or "")
    named = filled({name: parts.get(name) for name in ("route", "reasoning_effort", "key")})
    return {
        **({"input_tokens": bounds} if bounds else {}),
        **({} if streams is None else {"stream": streams}),
        **filled({"needs": parts.get("needs")}),
        **({"budget_used_percent": percent} if percent else {}),
        **_tags(parts.get("tags") or []),
        **{word: _one_or_all(texts) for word, texts in named.items()},
    }


def _tags(lines: list[str]) -> Parts:
    found: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not (name and colon and value):
            raise ValidationError(
                gettext("Tags: write a name, a colon and a value, such as team: search.")
            )
        found.setdefault(f"{TAG}{name}", []).append(value)
    return {word: _one_or_all(values) for word, values in found.items()}


def _one_or_all(texts: list[str]) -> Any:
    return texts[0] if len(texts) == 1 else texts


class ProviderForm(TenantForm):
    quirks = QuirksField()
    limits = ProviderLimitsField()


class TargetForm(forms.ModelForm):  # type: ignore[type-arg]  # Django 5.2 cannot subscript it when it runs
    when = ConditionsField()
