"""The form of a guardrail: for each kind the fields of its configuration, with what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from responses_api.enforcement import validating
from responses_api.enforcement.managed import GUARDRAILS, MAX_SECRET
from responses_api.guardrails import credentials, pii
from responses_api.guardrails.config import NAME_LISTS, ROLES
from responses_api.models import Guardrail
from tenants.access.access import OPERATOR
from tenants.console.scoped_forms import TenantForm
from tenants.theme import Checkboxes, LinesField, NumberInput, PasswordInput, Select, TextInput

Text = str | Promise
Label = Any  # a text or its promise, of which the stubs know only their own kind
Kind = Guardrail.Kind
PREFIX = "config_"

# What a kind is for, in a sentence.
EXPLAINED: Mapping[str, Text] = {
    Kind.TERMS: gettext_lazy(
        "Words and phrases, found as whole words whatever their case: names of projects, competitors, "
        "insults."
    ),
    Kind.PATTERN: gettext_lazy(
        "Regular expressions in RE2's syntax with a bounded length: numbers of customers, internal hosts."
    ),
    Kind.PII: gettext_lazy(
        "E-mail addresses, telephone numbers, payment cards, IBANs, IP addresses and national numbers, "
        "checked by their check digits where they have some."
    ),
    Kind.SECRETS: gettext_lazy(
        "API keys, access tokens and private keys that should never reach a model, or come from one."
    ),
    Kind.TOOLS: gettext_lazy(
        "Functions, hosted tools and MCP servers that a request may bring and a model may call."
    ),
    Kind.INPUT_LIMITS: gettext_lazy(
        "How much a request may hold: tokens, images, files; and which roles may speak."
    ),
    Kind.MODERATION: gettext_lazy(
        "A moderation service that speaks OpenAI's moderations route, with a threshold for each category."
    ),
    Kind.WEBHOOK: gettext_lazy(
        "A service of your own, or one that speaks LiteLLM's generic dialect, decides what may pass."
    ),
}


def _choices(names: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, name.replace("_", " ")) for name in names]


def _pairs_of(lines: list[str], what: Text) -> list[tuple[str, str]]:
    """Read lines of the form `name: value`. Raise ValidationError."""
    found = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not value.strip():
            raise ValidationError(_("Write %(what)s, one a line.") % {"what": what})
        found.append((name.strip(), value.strip()))
    return found


def _patterns(lines: list[str]) -> list[dict[str, str]]:
    pairs = _pairs_of(lines, gettext_lazy("a name, a colon and an expression"))
    return [{"name": name, "pattern": pattern} for name, pattern in pairs]


def _thresholds(lines: list[str]) -> dict[str, float]:
    found = {}
    for name, value in _pairs_of(lines, gettext_lazy("a category, a colon and a score")):
        try:
            found[name] = float(value)
        except ValueError:
            raise ValidationError(_("%(value)s is not a number.") % {"value": value}) from None
    return found


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A field of a form for a field of the configuration: `read` makes its value of what was entered, `show`
    the other way round. What is left empty is left out."""

    make: Callable[[], forms.Field]
    read: Callable[[Any], Any] = _same
    show: Callable[[Any], Any] = _same


_ONE_A_LINE = gettext_lazy("One a line.")


def _lines(label: Label, help_text: Label = _ONE_A_LINE, rows: int = 4) -> ConfigField:
    return ConfigField(
        lambda: LinesField(label=label, help_text=help_text, rows=rows, required=False)
    )


def _number(label: Label, help_text: Label = "") -> ConfigField:
    return ConfigField(
        lambda: forms.IntegerField(
            label=label, help_text=help_text, required=False, min_value=0, widget=NumberInput
        )
    )


def _ticked(label: Label, names: Mapping[str, Any], help_text: Label) -> ConfigField:
    return ConfigField(
        lambda: forms.MultipleChoiceField(
            label=label,
            choices=_choices(names),
            required=False,
            widget=Checkboxes,
            help_text=help_text,
        )
    )


def _chosen(label: Label, choices: list[tuple[str, Text]], help_text: Label = "") -> ConfigField:
    return ConfigField(
        lambda: forms.ChoiceField(
            label=label, choices=choices, required=False, widget=Select, help_text=help_text
        )
    )


def _text(label: Label, help_text: Label = "") -> ConfigField:
    return ConfigField(
        lambda: forms.CharField(
            label=label, help_text=help_text, required=False, max_length=200, widget=TextInput
        )
    )


_OPAQUE = _chosen(
    gettext_lazy("What cannot be read"),
    [("", gettext_lazy("passes")), ("refuse", gettext_lazy("is refused"))],
    gettext_lazy("Images, files that are no text, and content that only a provider can decrypt."),
)
_ALL = gettext_lazy("Choose none to look for all of them.")
_OUTPUT = _chosen(
    gettext_lazy("Answers are checked"),
    [
        ("", gettext_lazy("as usual for this kind")),
        ("windows", gettext_lazy("window by window: each 1,000 characters wait for their verdict")),
        ("whole", gettext_lazy("whole: nothing is let go before the end")),
    ],
)
_LISTS: Mapping[str, Text] = {
    "allowed_functions": gettext_lazy("Functions that are allowed"),
    "denied_functions": gettext_lazy("Functions that are denied"),
    "allowed_types": gettext_lazy("Hosted tools that are allowed"),
    "denied_types": gettext_lazy("Hosted tools that are denied"),
    "allowed_servers": gettext_lazy("MCP servers that are allowed"),
    "denied_servers": gettext_lazy("MCP servers that are denied"),
}

FIELDS: Mapping[str, Mapping[str, ConfigField]] = {
    Kind.TERMS: {
        "terms": _lines(
            gettext_lazy("Words and phrases"), gettext_lazy("Up to 5,000, one a line."), 10
        ),
        "label": _text(
            gettext_lazy("Label of the mask"),
            gettext_lazy("In capitals, such as PROJECT; REDACTED without one."),
        ),
        "opaque": _OPAQUE,
    },
    Kind.PATTERN: {
        "patterns": ConfigField(
            lambda: LinesField(
                label=gettext_lazy("Expressions"),
                help_text=gettext_lazy(
                    "A name, a colon and an expression, one a line: customer: C-[0-9]{6}. Every repetition "
                    "needs an end; look-around and back-references do not exist."
                ),
                rows=8,
                required=False,
            ),
            _patterns,
            lambda found: [f"{each['name']}: {each['pattern']}" for each in found],
        ),
        "opaque": _OPAQUE,
    },
    Kind.PII: {
        "entities": _ticked(gettext_lazy("Personal data"), pii.RULES, _ALL),
        "opaque": _OPAQUE,
    },
    Kind.SECRETS: {
        "types": _ticked(gettext_lazy("Secrets"), credentials.RULES, _ALL),
        "opaque": _OPAQUE,
    },
    Kind.TOOLS: {
        **{name: _lines(_LISTS[name], rows=3) for name in NAME_LISTS},
        "max_arguments_bytes": _number(gettext_lazy("Bytes of the arguments of a call, at most")),
    },
    Kind.INPUT_LIMITS: {
        "max_tokens": _number(gettext_lazy("Tokens, at most"), gettext_lazy("By our estimate.")),
        "max_images": _number(gettext_lazy("Images, at most")),
        "max_files": _number(gettext_lazy("Files, at most")),
        "denied_roles": _ticked(
            gettext_lazy("Roles that may not speak"),
            dict.fromkeys(ROLES),
            gettext_lazy("None: all may."),
        ),
    },
    Kind.MODERATION: {
        "model": _text(gettext_lazy("Model"), gettext_lazy("omni-moderation-latest without one.")),
        "thresholds": ConfigField(
            lambda: LinesField(
                label=gettext_lazy("Thresholds"),
                help_text=gettext_lazy(
                    "A category, a colon and the score from which it may not pass, one a line: "
                    "violence: 0.4. For all others the service's own flag counts."
                ),
                required=False,
            ),
            _thresholds,
            lambda found: [f"{name}: {score}" for name, score in found.items()],
        ),
        "output": _OUTPUT,
    },
    Kind.WEBHOOK: {
        "dialect": _chosen(
            gettext_lazy("Dialect"),
            [
                ("", gettext_lazy("Tollgate: signed, with places in the text")),
                ("litellm", gettext_lazy("LiteLLM's generic guardrail API")),
            ],
        ),
        "auth": _chosen(
            gettext_lazy("Secret in LiteLLM's dialect"),
            [
                ("", gettext_lazy("as x-api-key")),
                ("bearer", gettext_lazy("as Authorization: Bearer")),
            ],
        ),
        "output": _OUTPUT,
    },
}


class GuardrailForm(TenantForm):
    """The form of one kind, which the admin page sets."""

    kind = ""  # of this request's class

    secret = forms.CharField(
        label=gettext_lazy("Secret"),
        max_length=MAX_SECRET,
        required=False,
        widget=PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    stages = forms.MultipleChoiceField(
        label=gettext_lazy("Looks at"),
        choices=[
            ("input", gettext_lazy("the input: messages, history, tool results, files")),
            ("output", gettext_lazy("the answer: text, reasoning, calls of tools")),
            ("tools", gettext_lazy("the definitions of tools")),
        ],
        widget=Checkboxes,
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance._state.adding:
            self.instance.kind = self.kind
        if "secret" in self.fields:
            self._explain_secret()
        shown = self.instance.config if isinstance(self.instance.config, dict) else {}
        for name, each in FIELDS.get(self.kind, {}).items():
            if f"{PREFIX}{name}" in self.fields and name in shown:
                self.initial[f"{PREFIX}{name}"] = _shown(each, shown[name])

    def _explain_secret(self) -> None:
        if self.instance.sealed_secret:
            self.fields["secret"].help_text = _("Leave empty to keep the current one.")
        elif self.kind == Kind.WEBHOOK:
            self.fields["secret"].help_text = _(
                "In our own dialect it signs; leave it empty to have one made, which is shown once."
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        config: dict[str, Any] = {}
        for name, each in FIELDS.get(self.kind, {}).items():
            given = cleaned.pop(f"{PREFIX}{name}", None)
            if given in (None, "", []):
                continue
            try:
                config[name] = each.read(given)
            except ValidationError as error:
                self.add_error(f"{PREFIX}{name}", error)
        if any(name.startswith(PREFIX) for name in self.fields):
            self.instance.config = config
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.errors:
            return
        try:
            validating.check(self.instance)
            given = self.cleaned_data.get("secret")
            extra = {"secret": given} if given else {}
            GUARDRAILS.prepare(OPERATOR, self.instance, extra, is_new=self.instance._state.adding)
        except ValidationError as error:
            self._add_errors(error)

    def _add_errors(self, error: ValidationError) -> None:
        """Put each message at the field it is about, where the form has it."""
        for name, messages in error.message_dict.items():
            is_there = name in self.fields and name != NON_FIELD_ERRORS
            for message in messages:
                self.add_error(name if is_there else self._field_in(message), message)

    def _field_in(self, message: str) -> str | None:
        """Return the field of the configuration that a message begins with."""
        for name in FIELDS.get(self.kind, {}):
            if message.startswith(f"'{name}") and f"{PREFIX}{name}" in self.fields:
                return f"{PREFIX}{name}"
        return None


def _shown(each: ConfigField, value: Any) -> Any:
    """Return a value as its field shows it; as it is if somebody wrote another shape past all checks."""
    try:
        return each.show(value)
    except (TypeError, KeyError, AttributeError):
        return value


def form_of(kind: str) -> type[GuardrailForm]:
    """Make the form of a kind."""
    made: dict[str, Any] = {"kind": kind}
    for name, each in FIELDS.get(kind, {}).items():
        made[f"{PREFIX}{name}"] = each.make()
    return type("GuardrailForm", (GuardrailForm,), made)


def config_fields(kind: str) -> tuple[str, ...]:
    return tuple(f"{PREFIX}{name}" for name in FIELDS.get(kind, {}))
