"""The pages of who may sign in: memberships for tenants' people, accounts and auditors for operators."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Field, Model, QuerySet
from django.forms import TypedChoiceField
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext as _

from tenants.access.rights import ROLES, Area, Right
from tenants.admin import role_table
from tenants.console.operator_admin import OperatorModelAdmin
from tenants.console.scoped_admin import (
    TenantModelAdmin,
    TenantRelatedFilter,
    access,
)
from tenants.managed.people import MEMBERSHIPS
from tenants.members import members
from tenants.models import ConsoleSession, Membership, PlatformRole, RoleHolder
from tenants.sign_in import proof, sessions
from tenants.sign_in.factors import with_factor

admin.site.unregister(User)
admin.site.unregister(Group)  # groups give no rights here
# allauth's pages would show what is for nobody's eyes, and let its rules be passed by.
admin.site.unregister(EmailAddress)
admin.site.unregister(Authenticator)


PEOPLE = frozenset({"add", "change", "delete", "delete_selected"})


@admin.register(User)
class OperatorUserAdmin(OperatorModelAdmin, UserAdmin):  # type: ignore[type-arg]  # not at run time
    """Django's page of accounts, without what gives no rights here: staff flag, groups, permissions."""

    proof_for = PEOPLE
    list_display = ("username", "email", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    filter_horizontal = ()
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("username", "password")}),
        (gettext_lazy("Person"), {"fields": ("first_name", "last_name", "email")}),
        (
            gettext_lazy("Rights"),
            {
                "fields": ("is_active", "is_superuser"),
                "description": gettext_lazy(
                    "A superuser is an operator. Everybody else needs a membership in a tenant, or to be "
                    "an auditor."
                ),
            },
        ),
        (gettext_lazy("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show auditors nothing of a password, not even its digest."""
        shown = super().get_fieldsets(request, obj)
        if obj is None or access(request).is_operator:
            return shown
        (title, _fields), *rest = shown
        return [(title, {"fields": ("username",)}), *rest]

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002  # Django's name
        form_url: str = "",
    ) -> HttpResponse:
        """Let an operator set a password; whoever knew the old one is signed out."""
        if request.method == "POST":
            proof.demand(request)
        response = super().user_change_password(request, id, form_url)
        if response.status_code == HTTPStatus.FOUND:
            changed = self.get_object(request, unquote(id))
            sessions.end_others(changed, request)
        return response


@admin.register(ConsoleSession)
class ConsoleSessionAdmin(OperatorModelAdmin):
    """The page of everybody's sessions. An operator can end them; nobody can make or change one."""

    has_history = False
    list_display = ("user", "address", "browser", "began_at", "seen_at", "expire_date")
    list_select_related = ("user",)
    search_fields = ("user__username", "address")
    fields = ("user", "address", "browser", "began_at", "seen_at", "expire_date")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConsoleSession]:
        """Leave out what strangers began and did not finish."""
        rows: QuerySet[ConsoleSession] = super().get_queryset(request)
        return rows.exclude(user=None).defer("session_data")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: ConsoleSession) -> None:
        sessions.end_one(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ConsoleSession]) -> None:
        for session in list(queryset):
            sessions.end_one(session)


@admin.register(PlatformRole)
class PlatformRoleAdmin(OperatorModelAdmin):
    """The page of auditors, who read the whole platform."""

    when_empty = gettext_lazy(
        "An auditor reads everything but prompts and answers, and changes nothing."
    )
    proof_for = PEOPLE
    list_display = ("user", "role", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__username", "user__email")
    fields = ("user", "role", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("user",)


class GrantingAdmin(TenantModelAdmin):
    """Share what pages of memberships and invitations need: nobody deals in more rights than their own."""

    area = Area.MEMBERS
    proof_for = PEOPLE

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        if not super().may(right, request, row):
            return False
        if right == "view" or not isinstance(row, RoleHolder):
            return True
        return access(request).may_grant(row.permissions, row.tenant_id)

    def formfield_for_choice_field(
        self, db_field: Field[Any, Any], request: HttpRequest, **options: Any
    ) -> TypedChoiceField | None:
        """Offer only the roles that the person may grant somewhere.

        Where exactly, `may` decides before the row is stored.
        """
        who = access(request)
        tenants = who.tenants_where("add", self.area)
        roles = [
            (role, label)
            for role, label in Membership.Role.choices
            if who.is_operator or any(who.may_grant(ROLES[role], tenant) for tenant in tenants)
        ]
        options["choices"] = [("", gettext("One of the tenant's own")), *roles]
        options["initial"] = ""
        return super().formfield_for_choice_field(db_field, request, **options)

    @admin.display(description=gettext_lazy("Role"), ordering="role")
    def role_shown(self, holder: RoleHolder) -> str:
        return holder.role_name


@admin.register(Membership)
class MembershipAdmin(GrantingAdmin):
    """The page of memberships. New people come by an invitation."""

    when_empty = gettext_lazy(
        "A member sees one tenant, as far as the role goes. Invite those who have no account yet."
    )
    resource = MEMBERSHIPS
    change_list_template = "admin/tenants/membership/change_list.html"
    list_display = ("user", "tenant", "role_shown", "signed_in", "second_factor", "created_at")
    list_select_related = ("tenant", "user", "custom_role")
    list_filter = ("role", ("tenant", TenantRelatedFilter))
    search_fields = ("user__username", "user__email", "tenant__name")
    fields = ("tenant", "user", "role", "custom_role", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("tenant", "user")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_factor(super().get_queryset(request))

    @admin.display(description=gettext_lazy("Last sign-in"), ordering="user__last_login")
    def signed_in(self, member: Membership) -> str:
        at = member.user.last_login
        return _("never") if at is None else localize(timezone.localtime(at))

    @admin.display(description=gettext_lazy("Second factor"), boolean=True)
    def second_factor(self, member: Any) -> bool:
        return bool(member.has_second_factor)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show below the members what each role may do, and lead to where people are invited."""
        shown = {
            "roles": [label for _role, label in Membership.Role.choices],
            "rights": role_table.rows(),
            "may_invite": access(request).may_somewhere("add", Area.MEMBERS),
        }
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        who, role = access(request), obj.custom_role or obj.role
        if change:
            members.set_role(who, obj, role)
            return
        made = members.add_member(who, obj.tenant, obj.user, role)
        obj.pk, obj._state.adding = made.pk, False

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        members.remove_member(access(request), obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        for member in list(queryset):
            members.remove_member(access(request), member)
