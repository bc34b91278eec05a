"""The pages of a tenant's own roles."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tenants.access.rights import TENANT_NAMES, Area, Right, read_names
from tenants.admin.browsing import LightDeletion
from tenants.admin.role_table import AREAS, RIGHTS
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.console.scoped_forms import TenantForm
from tenants.members import roles
from tenants.models import CustomRole
from tenants.theme import Checkboxes


def _grouped(held: frozenset[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the permissions to choose from, a group for each area."""
    names = [name for name in TENANT_NAMES if name in held]
    areas = dict.fromkeys(name.partition(".")[0] for name in names)
    return [
        (
            str(AREAS[Area(area)]),
            [
                (name, str(RIGHTS[name.partition(".")[2]]))
                for name in names
                if name.partition(".")[0] == area
            ],
        )
        for area in areas
    ]


class CustomRoleForm(TenantForm):
    permissions = forms.MultipleChoiceField(
        label=_("Permissions"),
        choices=_grouped(frozenset(TENANT_NAMES)),
        widget=Checkboxes,
        help_text=_("What may be changed, added or deleted has to be viewed, too."),
    )
    held: ClassVar[frozenset[str]] = frozenset(TENANT_NAMES)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields.get("permissions")
        if isinstance(field, forms.MultipleChoiceField):  # it is only shown to those who only read
            field.choices = _grouped(self.held)


@admin.register(CustomRole)
class CustomRoleAdmin(LightDeletion):
    """Nobody makes, changes or deletes a role that gives more than they have themselves."""

    when_empty = _(
        "A tenant makes a role of its own where the built-in ones give too much or too little."
    )
    area = Area.ROLES
    proof_for = frozenset({"add", "change", "delete", "delete_selected"})
    form = CustomRoleForm
    list_display = ("name", "tenant", "permissions_shown", "created_at")
    list_select_related = ("tenant", "created_by")
    list_filter = (("tenant", TenantRelatedFilter),)
    search_fields = ("name", "tenant__name")
    fields = ("tenant", "name", "permissions", "created_at", "maker")
    readonly_fields = ("created_at", "maker")
    autocomplete_fields = ("tenant",)

    @admin.display(description=_("Permissions"))
    def permissions_shown(self, role: CustomRole) -> str:
        return ", ".join(role.permissions)

    @admin.display(description=_("Created by"))
    def maker(self, role: CustomRole) -> str | None:
        return str(role.created_by) if role.created_by is not None else None

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        if not super().may(right, request, row):
            return False
        if right == "view" or not isinstance(row, CustomRole):
            return True
        return access(request).may_grant(read_names(row.permissions), row.tenant_id)

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **options: Any
    ) -> type[forms.ModelForm[Any]]:
        form = super().get_form(request, obj, change, **options)
        who = access(request)
        tenants = who.tenants_where("add", self.area) | who.tenants_where("change", self.area)
        form.held = frozenset(  # type: ignore[attr-defined]  # a class of this request alone
            name
            for name in TENANT_NAMES
            if any(who.may_grant(read_names([name]), tenant) for tenant in (None, *tenants))
        )
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        who, maker = access(request), cast("User", request.user)
        if change:
            roles.change_role(who, obj, name=obj.name, permissions=obj.permissions)
            return
        made = roles.create_role(who, obj.tenant, obj.name, obj.permissions, created_by=maker)
        obj.pk, obj._state.adding = made.pk, False

    def delete_model(self, request: HttpRequest, obj: CustomRole) -> None:
        roles.delete_role(access(request), obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[CustomRole]) -> None:
        for role in list(queryset):
            roles.delete_role(access(request), role)
