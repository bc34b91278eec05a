"""The pages on who may sign in: memberships for tenant staff, users and groups for operators."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Field, Model
from django.forms import TypedChoiceField
from django.http import HttpRequest

from tenants.access import Area, Right
from tenants.models import Membership
from tenants.scoped_admin import (
    OperatorModelAdmin,
    TenantModelAdmin,
    TenantRelatedFilter,
    access,
)

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class OperatorUserAdmin(OperatorModelAdmin, UserAdmin):  # type: ignore[type-arg]  # not at run time
    """Django's page on users, whatever permissions somebody has been given."""


@admin.register(Group)
class OperatorGroupAdmin(OperatorModelAdmin, GroupAdmin):  # type: ignore[misc]  # it returns a wider type
    """Django's page on groups. They give no rights in the console."""


@admin.register(Membership)
class MembershipAdmin(TenantModelAdmin):
    """Nobody gives, changes or takes away a role above their own."""

    area = Area.MEMBERS
    fixed_fields = ("tenant", "user")
    list_display = ("user", "tenant", "role", "created_at")
    list_select_related = ("tenant", "user")
    list_filter = ("role", ("tenant", TenantRelatedFilter))
    search_fields = ("user__username", "user__email", "tenant__name")
    fields = ("tenant", "user", "role", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("tenant", "user")

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        if not super().may(right, request, row):
            return False
        if right == "view" or not isinstance(row, Membership):
            return True
        return access(request).may_grant(row.role, row.tenant_id)

    def formfield_for_choice_field(
        self, db_field: Field[Any, Any], request: HttpRequest, **options: Any
    ) -> TypedChoiceField | None:
        """The role, which is the only choice here: what the person may grant somewhere.

        Where exactly, `may` decides before the row is stored.
        """
        who = access(request)
        if not who.is_operator:
            tenants = who.tenants_where("add", self.area)
            options["choices"] = [
                (role, label)
                for role, label in Membership.Role.choices
                if any(who.may_grant(role, tenant) for tenant in tenants)
            ]
        return super().formfield_for_choice_field(db_field, request, **options)
