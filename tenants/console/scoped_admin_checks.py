"""System checks: no console page may show rows of tenants without tenants/console/scoped_admin.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.contrib.admin.utils import get_fields_from_path
from django.core import checks

from tenants.access import ownership
from tenants.console.operator_admin import OperatorModelAdmin
from tenants.console.scoped_admin import (
    TenantInline,
    TenantModelAdmin,
    TenantRelatedFilter,
)
from tenants.console.scoped_forms import TenantForm, TenantFormSet
from tenants.theme import asks_for_refused


@checks.register(checks.Tags.admin)
def check_console(**_options: Any) -> list[checks.CheckMessage]:
    """Check every page of every admin site."""
    pages = [page for site in all_sites for page in site._registry.values()]
    return [error for page in pages for error in faults(page)]


def faults(page: admin.ModelAdmin[Any]) -> Iterator[checks.CheckMessage]:
    """Return what is wrong with one page."""
    yield from _foreign_inlines(page)
    yield from _tricks_of_the_theme(page)
    if isinstance(page, TenantModelAdmin):
        yield from _leaking_filters(page)
        yield from _unscoped_forms(page)
    elif ownership.paths(page.model):
        yield checks.Error(
            f"{page.model.__name__} belongs to tenants, but its page shows every tenant's rows.",
            hint="Derive it from tenants.scoped_admin.TenantModelAdmin.",
            obj=type(page),
            id="tenants.E001",
        )
    elif not isinstance(page, OperatorModelAdmin):
        yield checks.Error(
            f"{page.model.__name__} belongs to no tenant, but tenant staff could be let at its page.",
            hint="Derive it from tenants.console.operator_admin.OperatorModelAdmin.",
            obj=type(page),
            id="tenants.E002",
        )


def _foreign_inlines(page: admin.ModelAdmin[Any]) -> Iterator[checks.CheckMessage]:
    for inline in page.inlines:
        scoped = issubclass(inline, TenantInline) and issubclass(inline.formset, TenantFormSet)
        if ownership.paths(inline.model) and not scoped:
            yield checks.Error(
                f"{inline.model.__name__} belongs to tenants, but its inline shows every tenant's rows.",
                hint="Derive it from tenants.scoped_admin.TenantInline, its formset from TenantFormSet.",
                obj=inline,
                id="tenants.E003",
            )


def _tricks_of_the_theme(page: admin.ModelAdmin[Any]) -> Iterator[checks.CheckMessage]:
    for asked in (page, *page.inlines):
        for name in asks_for_refused(asked):
            yield checks.Error(
                f"{name} is of the theme: it acts on a GET, or queries past what the person may see.",
                hint="Write a console_action (tenants/console/actions.py), or a ConsolePage.",
                obj=type(page),
                id="tenants.E006",
            )


def _leaking_filters(page: TenantModelAdmin) -> Iterator[checks.CheckMessage]:
    for item in page.list_filter:
        if isinstance(item, type):
            continue
        path, by = item if isinstance(item, tuple | list) else (item, None)
        fields = get_fields_from_path(page.model, str(path))
        scoped = isinstance(by, type) and issubclass(by, TenantRelatedFilter)
        if any(field.is_relation for field in fields) and not scoped:
            yield checks.Error(
                f"The filter by {path!r} would name every tenant's rows.",
                hint=f'Write ("{path}", TenantRelatedFilter).',
                obj=type(page),
                id="tenants.E004",
            )


def _unscoped_forms(page: TenantModelAdmin) -> Iterator[checks.CheckMessage]:
    if not issubclass(page.form, TenantForm):
        yield checks.Error(
            "The form could link a row to another tenant's.",
            hint="Derive it from tenants.scoped_forms.TenantForm.",
            obj=type(page),
            id="tenants.E005",
        )
