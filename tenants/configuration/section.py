"""Look names of a file up: in a tenant first its own rows, then the platform's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet

from tenants.access.access import Access
from tenants.configuration.secrets import SecretSource
from tenants.managed.resource import resource_of
from tenants.models import Tenant

PLATFORM = "platform:"


@dataclass(frozen=True, slots=True)
class FileSection:
    """The part of a file that is about the platform (no tenant) or about one tenant.

    `own`: names of this part's rows by their models, which make the platform's of the same name need
    `platform:` before it. Made anew for each section, because the one before may have added some.
    """

    who: Access
    tenant: Tenant | None
    secrets: SecretSource
    own: dict[type[Model], frozenset[str]] = field(default_factory=dict)

    @property
    def tenant_id(self) -> int | None:
        return None if self.tenant is None else self.tenant.pk

    def fresh(self) -> FileSection:
        return FileSection(self.who, self.tenant, self.secrets)

    def visible(self, model: type[Model]) -> QuerySet[Any]:
        return resource_of(model).visible(self.who, model._default_manager.all())

    def named(self, model: type[Model], name: str) -> Any:
        """Return the row of this name, this part's own first. Raise ValidationError."""
        rows = self.visible(model)
        own = rows.filter(tenant=self.tenant_id, name=name).first()
        if own is not None or self.tenant is None:
            return own or _missing(model, name)
        of_platform = rows.filter(tenant=None, name=name.removeprefix(PLATFORM)).first()
        return of_platform or _missing(model, name)

    def name_of(self, row: Any) -> str:
        """Return the name by which `named` finds this row again."""
        if row.tenant_id is None and self.tenant is not None:
            return f"{PLATFORM}{row.name}" if row.name in self._own_names(type(row)) else row.name
        return str(row.name)

    def _own_names(self, model: type[Model]) -> frozenset[str]:
        if model not in self.own:
            rows = model._default_manager.filter(tenant=self.tenant_id)
            self.own[model] = frozenset(rows.values_list("name", flat=True))
        return self.own[model]


def _missing(model: type[Model], name: str) -> Any:
    what = str(model._meta.verbose_name)
    raise ValidationError(f"There is no {what} {name[:100]!r} in the file or in the database.")
