"""Read, compare and show the fields of a file's objects.

A value has one normal form, in which the file's and the database's are compared and which is exported: what
is equal in it is the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.dateparse import parse_datetime

from gateway_project.lib.secret import MASK
from tenants.budgets import dollars
from tenants.configuration.secrets import SecretReference
from tenants.configuration.section import FileSection
from tenants.models import ApiKey


class LeftAlone(Exception):  # an outcome rather than an error
    """An object that is not touched, for a reason people are told."""


@dataclass(frozen=True, slots=True)
class ConfigurationField:
    """A field that is written as its column is stored. `column` is its name in the database, if another.
    `is_written`: exported also where it is as in a new row. `is_needed`: no object is without it."""

    name: str
    column: str = ""
    is_written: bool = False
    is_needed: bool = False

    @property
    def target(self) -> str:
        return self.column or self.name

    def read(self, value: Any, scope: FileSection) -> Any:
        """Return the normal form of what the file says. Raise ValidationError."""
        return _plain(value)

    def show(self, row: Any, scope: FileSection) -> Any:
        """Return the normal form of what a row says."""
        return getattr(row, self.target)

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        """Return what is written for a normal form, by columns."""
        return {self.target: value}

    def differs(self, value: Any, row: Any, scope: FileSection) -> bool:
        return not same(value, self.show(row, scope))

    def told(self, value: Any) -> Any:
        """Return the value as people and JSON may see it."""
        return value

    def usual(self, model: type[Model]) -> Any:
        """Return the normal form of what a new row has."""
        return model._meta.get_field(self.target).get_default()  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class NameField(ConfigurationField):
    """A text by which an object is found."""

    is_needed: bool = True

    def read(self, value: Any, scope: FileSection) -> str:
        return text(value)


@dataclass(frozen=True, slots=True)
class SetField(ConfigurationField):
    """A list of texts whose order means nothing."""

    def read(self, value: Any, scope: FileSection) -> list[str]:
        return sorted(set(texts(value)))

    def show(self, row: Any, scope: FileSection) -> Any:
        return sorted(getattr(row, self.target))

    def usual(self, model: type[Model]) -> Any:
        return sorted(model._meta.get_field(self.target).get_default())  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class AmountField(ConfigurationField):
    """An amount in dollars, kept as whole nano-dollars."""

    def read(self, value: Any, scope: FileSection) -> str:
        return dollars.to_text(parse(dollars.to_nano, amount(value)))

    def show(self, row: Any, scope: FileSection) -> str:
        return dollars.to_text(getattr(row, self.target))

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        return {self.target: dollars.to_nano(value)}

    def usual(self, model: type[Model]) -> Any:
        return None


@dataclass(frozen=True, slots=True)
class InstantField(ConfigurationField):
    """An instant with its offset, or null."""

    def read(self, value: Any, scope: FileSection) -> str | None:
        if value is None:
            return None
        try:
            found = parse_datetime(value) if isinstance(value, str) else None
            if found is None or found.tzinfo is None:
                raise ValueError(value)
            return found.astimezone(UTC).isoformat()
        except (ValueError, OverflowError):
            message = "Write an instant with its offset, such as 2026-01-31T12:00:00Z."
            raise ValidationError(message) from None

    def show(self, row: Any, scope: FileSection) -> str | None:
        found: datetime | None = getattr(row, self.target)
        return None if found is None else found.astimezone(UTC).isoformat()


@dataclass(frozen=True, slots=True)
class NamedField(ConfigurationField):
    """The name of another object, this part's own or the platform's."""

    model: type[Model] | None = None

    def read(self, value: Any, scope: FileSection) -> str:
        return scope.name_of(self._row(value, scope))

    def show(self, row: Any, scope: FileSection) -> str:
        return scope.name_of(getattr(row, self.target))

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        return {self.target: self._row(value, scope)}

    def usual(self, model: type[Model]) -> Any:
        return None

    def _row(self, value: Any, scope: FileSection) -> Any:
        assert self.model is not None
        return scope.named(self.model, text(value))


@dataclass(frozen=True, slots=True)
class KeyField(ConfigurationField):
    """The name of one of the tenant's keys; null: all of them together."""

    def read(self, value: Any, scope: FileSection) -> str | None:
        return None if value is None else str(find_key(text(value), scope).name)

    def show(self, row: Any, scope: FileSection) -> str | None:
        key = getattr(row, self.target)
        return None if key is None else str(key.name)

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        return {self.target: None if value is None else find_key(value, scope)}

    def usual(self, model: type[Model]) -> Any:
        return None


@dataclass(frozen=True, slots=True)
class SecretReferenceField(ConfigurationField):
    """A secret, by reference. `is_as_stored` compares it with a row's without showing either."""

    is_as_stored: Callable[[Any, Any], bool] = lambda secret, row: False

    def read(self, value: Any, scope: FileSection) -> SecretReference:
        return scope.secrets.find(value)

    def show(self, row: Any, scope: FileSection) -> Any:
        return MASK

    def store(self, value: SecretReference, scope: FileSection) -> dict[str, Any]:
        if value.secret is None:
            raise ValidationError({self.target: f"It is needed, but {value.problem}."})
        return {self.target: value.secret}

    def differs(self, value: SecretReference, row: Any, scope: FileSection) -> bool:
        return value.secret is not None and not self.is_as_stored(value.secret, row)

    def told(self, value: Any) -> Any:
        return MASK

    def usual(self, model: type[Model]) -> Any:
        return None


def find_key(name: str, scope: FileSection) -> ApiKey:
    """Return the tenant's key of this name. Raise ValidationError, or LeftAlone if it is revoked."""
    keys = list(scope.visible(ApiKey).filter(tenant=scope.tenant_id, name=name))
    alive = [key for key in keys if key.revoked_at is None]
    if len(alive) == 1:
        return alive[0]  # type: ignore[no-any-return]
    if alive:
        raise ValidationError(f"{len(alive)} keys are called {name[:100]!r}: rename all but one.")
    if keys:
        raise LeftAlone(f"the key {name[:100]!r} is revoked")
    raise ValidationError(f"There is no key {name[:100]!r} of this tenant.")


def same(one: Any, other: Any) -> bool:
    """Tell whether two normal forms are equal, and true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValidationError("Write a text.")
    return value


def texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValidationError("Write a list of texts.")
    return value


def amount(value: Any) -> str:
    """Return a number as it was written. Raise ValidationError for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValidationError('Write an amount in dollars, such as "25.00".')
    return str(value) if not isinstance(value, Decimal) else f"{value:f}"


def parse(convert: Callable[[str], int], value: str) -> int:
    """Call `convert` and turn its ValueError into a ValidationError."""
    try:
        return convert(value)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _plain(value: Any) -> Any:
    """Return the value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
