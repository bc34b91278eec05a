"""The column that says whose a row is."""

from __future__ import annotations

from django.contrib import admin

from routing.models import OwnedModel


@admin.display(description="Owner", ordering="tenant__name")
def owner(row: OwnedModel) -> str:
    return str(row.tenant) if row.tenant is not None else "Platform"
