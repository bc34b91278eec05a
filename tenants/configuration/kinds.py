"""Say what a kind of object is called in a file, what its fields are, and how it is found and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import Model, QuerySet

from gateway_project.lib.secret import Secret
from tenants import managed
from tenants.configuration.fields import ConfigurationField
from tenants.configuration.section import FileSection

Normal = Mapping[str, Any]  # normal forms by the names of the fields
Identity = tuple[Any, ...]


class ConfigurationKind:
    """One section of a file. Subclasses say what differs from the usual."""

    section: ClassVar[str]
    order: ClassVar[int]  # what others refer to comes before them
    model: ClassVar[type[Model]]
    on_platform: ClassVar[bool] = True
    in_tenants: ClassVar[bool] = True
    identity: ClassVar[tuple[ConfigurationField, ...]]  # names an object within its section
    fields: ClassVar[tuple[ConfigurationField, ...]]
    is_prunable: ClassVar[bool] = True

    @property
    def all_fields(self) -> dict[str, ConfigurationField]:
        return {field.name: field for field in (*self.identity, *self.fields)}

    @property
    def names_of_columns(self) -> dict[str, str]:
        return {field.target: field.name for field in (*self.identity, *self.fields)}

    def has_place(self, scope: FileSection) -> bool:
        return self.on_platform if scope.tenant is None else self.in_tenants

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        """Return the rows of this section, in a stable order."""
        return scope.visible(self.model).filter(tenant=scope.tenant_id).order_by("pk")

    def identity_of(self, row: Any, scope: FileSection) -> Identity:
        return tuple(field.show(row, scope) for field in self.identity)

    def check_missing(self, identity: Identity, scope: FileSection) -> None:
        """Raise LeftAlone where there is no such row, and none is to be made."""

    def complete(self, values: Normal) -> Normal:
        """Add what a new object has unless the file says otherwise."""
        return values

    def create(self, scope: FileSection, values: Normal) -> tuple[Any, Secret | None]:
        """Make the row of a new object. Return it with its secret, if one was made that is shown once."""
        made = managed.create(
            scope.who, self.model, {**self.home(scope), **self.store(scope, values)}
        )
        return made.row, made.secret

    def change(self, scope: FileSection, row: Any, values: Normal) -> None:
        """Write the fields that differ."""
        managed.change(scope.who, row, self.store(scope, values))

    def remove(self, scope: FileSection, row: Any) -> None:
        managed.remove(scope.who, row)

    def home(self, scope: FileSection) -> dict[str, Any]:
        return {"tenant": scope.tenant}

    def store(self, scope: FileSection, values: Normal) -> dict[str, Any]:
        """Return what is written for normal forms, by columns."""
        fields, found = self.all_fields, {}
        for name, value in values.items():
            found.update(fields[name].store(value, scope))
        return found

    def reason_to_keep(self, row: Any) -> str:
        """Say why this row is not pruned; nothing if it may be."""
        return ""

    def reason_not_to_export(self, row: Any, scope: FileSection) -> str:
        """Say why this row cannot stand in a file; nothing if it can."""
        return ""

    def reference(self, row: Any) -> str:
        """Return words that a variable for the row's secret can be named after."""
        return ""

    def notes(self, scope: FileSection) -> list[str]:
        """Say what else of this section an export leaves out, or an empty database would refuse."""
        return []

    def warnings(self, values: Normal, row: Any) -> list[str]:
        """Return what people should know about an object that was looked at."""
        return []


_kinds: dict[str, ConfigurationKind] = {}


def register(kind: ConfigurationKind) -> ConfigurationKind:
    """Make a kind known by the name of its section."""
    _kinds[kind.section] = kind
    return kind


def all_kinds() -> list[ConfigurationKind]:
    """List the kinds in the order in which they are written."""
    return sorted(_kinds.values(), key=lambda kind: kind.order)


def kinds_of(scope: FileSection) -> list[ConfigurationKind]:
    return [kind for kind in all_kinds() if kind.has_place(scope)]
