"""Show the owner of a row as a column."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from routing.models import OwnedModel


@admin.display(description=_("Owner"), ordering="tenant__name")
def owner(row: OwnedModel) -> str:
    return str(row.tenant) if row.tenant is not None else gettext("Platform")
