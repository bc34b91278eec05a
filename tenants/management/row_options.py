"""Make options of the fields of a row, and read what was typed."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.core.management.base import CommandParser
from django.db.models import BooleanField, DateTimeField, Field, ForeignKey, IntegerField, JSONField
from rest_framework import serializers

from tenants.access.access import OPERATOR
from tenants.api.shown import ShownRows
from tenants.managed import typed
from tenants.managed.resource import key_of, named_by
from tenants.models import Tenant

SECRET = "secret"
# Helps of columns whose models say nothing of them.
USUAL = {
    "name": "what it is called",
    "enabled": "whether it is used",
    "role": "a built-in role",
    "custom_role": "one of the tenant's own roles, instead of a built-in one",
    "scopes": "what it may do",
    "expires_at": "when it ends: an instant, a date (UTC), or so long from now: 30d",
    "time_zone": "an IANA name, such as Europe/Berlin",
}


@dataclass(frozen=True, slots=True)
class RowOption:
    """An option that says what is written into one field."""

    name: str
    field: Field[Any, Any] | None  # None: no column, what the resource takes beside them
    shown: serializers.Field[Any, Any, Any, Any] | None  # as the API has it

    @property
    def label(self) -> str:
        """Return what people call the option, without its dashes."""
        return "secret-env" if self.name == SECRET else self.name.removesuffix(typed.NANO)

    @property
    def is_switch(self) -> bool:
        if self.field is None:
            return isinstance(self.shown, serializers.BooleanField)
        return isinstance(self.field, BooleanField) and not self.field.null

    def add_to(self, parser: CommandParser, told: str | None) -> None:
        flag = f"--{self.label.replace('_', '-')}"
        about = (told or self._about()).replace("%", "%%")
        if self.is_switch:
            parser.add_argument(
                flag, dest=self.name, action=BooleanOptionalAction, default=None, help=about
            )
        else:
            parser.add_argument(flag, dest=self.name, metavar=self._metavar(), help=about)

    def read(self, given: Any, tenant: Tenant | None) -> Any:
        """Return what is written. Raise ValidationError."""
        if self.is_switch:
            return given
        if self.name == SECRET:
            secret = typed.secret(given)
            return None if secret is None else secret.reveal()
        if self.field is not None:
            return typed.read(OPERATOR, self.field, given, tenant)
        if isinstance(self.shown, serializers.ListSerializer):
            return typed.read_json(given)
        return typed.read_list(given) if isinstance(self.shown, serializers.ListField) else given

    def _about(self) -> str:
        if self.name == SECRET:
            return "the variable (or VAR_FILE) that holds the secret; it is never shown again"
        texts = (getattr(self.shown, "help_text", None), getattr(self.field, "help_text", None))
        described = [str(text) for text in texts if text and "docs/" not in str(text)]
        about = described[0] if described else self._words()
        if self.field is not None and self.field.null:
            about = f"{about.rstrip('.')}; {typed.NOTHING}: empty"
        return about

    def _words(self) -> str:
        if self.name in USUAL:
            return USUAL[self.name]
        name = self.name.replace("_", " ") if self.field is None else str(self.field.verbose_name)
        return f"its {name}"

    def _metavar(self) -> str:
        choices = self._choices()
        match self.field:
            case None if isinstance(self.shown, serializers.ListSerializer):
                return "JSON"
            case None if isinstance(self.shown, serializers.ListField):
                return "a,b"
            case _ if self.name == SECRET:
                return "VAR"
            case _ if choices:
                return "|".join(choices)
            case ForeignKey():
                return _metavar_of_link(self.field.remote_field.model)
            case JSONField():
                return "a,b" if typed.holds_list(self.field) else "JSON"
            case DateTimeField():
                return "INSTANT"
            case BooleanField():
                return f"true|false|{typed.NOTHING}"
            case IntegerField():
                return "DOLLARS" if self.name.endswith(typed.NANO) else "N"
        return "TEXT"

    def _choices(self) -> list[str]:
        if self.field is not None:
            return [str(value) for value, _ in self.field.flatchoices if value]
        choices = self.shown.choices if isinstance(self.shown, serializers.ChoiceField) else ()
        return [str(value) for value in choices if value]


def options_of(
    rows: type[ShownRows], *, is_new: bool, beside: Sequence[str] = ()
) -> list[RowOption]:
    """Return an option for each field that is written: of a new row, or of one that there is."""
    resource = rows.resource
    shown = rows.serializer_class().fields
    left = {"tenant"} if is_new else {"tenant", *resource.fixed}
    names = (*resource.fields, *resource.extra, *beside)
    return [
        RowOption(name, _column(rows, name), shown.get(name)) for name in names if name not in left
    ]


def values_of(
    options: Sequence[RowOption], given: Mapping[str, Any], tenant: Tenant | None
) -> dict[str, Any]:
    """Return what is to be written. Raise ValidationError that names every wrong option."""
    found: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    for option in options:
        if (text := given[option.name]) is None:
            continue
        try:
            found[option.name] = option.read(text, tenant)
        except ValidationError as error:
            wrong[option.label] = error.messages
    if wrong:
        raise ValidationError(wrong)
    return found


def _column(rows: type[ShownRows], name: str) -> Field[Any, Any] | None:
    if name not in rows.resource.fields:
        return None
    try:
        found = rows.resource.model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return found if isinstance(found, Field) else None


def _metavar_of_link(model: Any) -> str:
    if key_of(model) != "pk":
        return "ID"
    columns = named_by(model)
    word = str(model._meta.verbose_name).rpartition(" ")[2].upper()
    return "PROVIDER/MODEL" if len(columns) > 1 else (word if columns else "ID")
