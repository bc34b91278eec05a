"""Declare what a file can say about guardrails."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from responses_api.enforcement import secrets
from responses_api.models import Guardrail
from routing.models import Alias, Provider
from tenants.configuration.fields import (
    ConfigurationField,
    KeyField,
    NamedField,
    NameField,
    SecretReferenceField,
    SetField,
)
from tenants.configuration.kinds import ConfigurationKind, Normal, register
from tenants.configuration.section import FileSection


@dataclass(frozen=True, slots=True)
class OptionalNamedField(NamedField):
    """The name of another object, or null."""

    def read(self, value: Any, scope: FileSection) -> Any:
        return None if value is None else NamedField.read(self, value, scope)

    def show(self, row: Any, scope: FileSection) -> Any:
        return None if getattr(row, self.target) is None else NamedField.show(self, row, scope)

    def store(self, value: Any, scope: FileSection) -> dict[str, Any]:
        return {self.target: None} if value is None else NamedField.store(self, value, scope)


def _is_as_stored(secret: Secret, row: Guardrail) -> bool:
    """Tell whether this secret is the row's, and sealed for the host it has now."""
    try:
        stored = secrets.reveal(row)
    except (SealError, KeyringError):
        return False
    return stored is not None and hmac.compare_digest(
        stored.reveal().encode(), secret.reveal().encode()
    )


class GuardrailKind(ConfigurationKind):
    """Guardrails. The secret of an external check stands in the file by reference, if at all."""

    section = "guardrails"
    order = 80
    model = Guardrail
    identity = (NameField("name"),)
    fields = (
        ConfigurationField("kind", is_written=True),
        ConfigurationField("action", is_written=True),
        SetField("stages", is_written=True),
        ConfigurationField("config"),
        OptionalNamedField("alias", model=Alias),
        KeyField("key", "api_key"),
        ConfigurationField("reversible"),
        OptionalNamedField("provider", model=Provider),
        ConfigurationField("url"),
        SecretReferenceField("secret", is_as_stored=_is_as_stored),
        ConfigurationField("allow_private_network"),
        ConfigurationField("on_failure"),
        ConfigurationField("timeout_ms"),
        ConfigurationField("parallel"),
        ConfigurationField("enabled"),
    )

    def rows(self, scope: FileSection) -> QuerySet[Any]:
        rows = super().rows(scope).select_related("alias", "api_key", "provider")
        return rows.order_by("name", "pk")

    def warnings(self, values: Normal, row: Any) -> list[str]:
        given = values.get("secret")
        if given is None or given.secret is not None:
            return []
        return [f"the secret is left as it is: {given.problem}."]

    def reference(self, row: Any) -> str:
        if not row.sealed_secret:
            return ""
        owner = f"{row.tenant.slug}_" if row.tenant is not None else ""
        return f"{owner}guardrail_{row.name}"


GUARDRAILS = register(GuardrailKind())
