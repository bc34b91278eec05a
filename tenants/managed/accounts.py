"""State the rules for accounts of people, their sessions, their names at identity providers, and for
operators who act as a tenant.

Accounts belong to no tenant. Who makes or changes one could make an operator of it, so operators alone do.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet

from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.access.rights import Area, Right
from tenants.managed.people import maker
from tenants.managed.resource import Resource, Row, Values, register
from tenants.managed.tokens import maker_id
from tenants.members import accounts, support
from tenants.members.accounts import PLATFORM_ROLES
from tenants.models import ConsoleSession, ExternalIdentity, SupportSession
from tenants.sign_in import sessions


class PlatformResource(Resource):
    """Rows that belong to no tenant. The platform's people read them, and operators write them."""

    fixed: ClassVar[tuple[str, ...]] = ()

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        if right not in self.rights or (self.area, right) not in who.platform:
            return False
        return right == "view" or who.is_operator

    def visible(self, who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
        return rows if (self.area, "view") in who.platform else rows.none()

    def reserved(self, who: Access, row: Model) -> frozenset[str]:
        return frozenset()

    def hidden(self, who: Access, row: Model) -> frozenset[str]:
        return frozenset()


class UserResource(PlatformResource):
    """Accounts. Operators and auditors are made here; everybody else comes by an invitation."""

    model = User
    named_by = ("username",)
    area = Area.MEMBERS
    rights = frozenset({"view", "add", "change"})
    fields = ("username", "email", "is_active")
    extra = ("role",)
    fixed = ("username",)

    def prepare(self, who: Access, row: User, extra: Values, *, is_new: bool) -> Secret | None:
        role = extra.get("role", None if is_new else "")
        if role not in PLATFORM_ROLES or (is_new and not role):
            named = " or ".join(filter(None, PLATFORM_ROLES))
            more = "" if is_new else ", or an empty text for none"
            raise ValidationError({"role": f"Write {named}{more}."})
        return None

    def validate(self, row: User) -> None:
        row.full_clean(exclude={"password"})

    def insert(self, who: Access, row: User, extra: Values) -> Secret | None:
        made, password = accounts.create_operator(
            who, row.username, email=row.email, is_auditor=extra["role"] == "auditor"
        )
        row.pk, row._state.adding = made.pk, False
        return password

    def finish(self, row: User, extra: Values, *, is_new: bool) -> Secret | None:
        if not is_new and "role" in extra:
            accounts.set_platform_role(row, extra["role"])
        return None


class SessionResource(Resource):
    """Sessions of the console: one's own, and to the platform's people everybody's."""

    model = ConsoleSession
    area = Area.MEMBERS
    rights = frozenset({"view", "delete"})
    has_own_dependants = True

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        if right not in self.rights or not who.may_somewhere(right, self.area):
            return False
        if row is None or (self.area, right) in who.platform:
            return True
        return isinstance(row, ConsoleSession) and row.user_id == maker_id()

    def visible(self, who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
        rows = rows.filter(sessions.is_live()).exclude(user=None)
        if (self.area, "view") in who.platform:
            return rows
        mine = maker_id() if who.may_somewhere("view", self.area) else None
        return rows.none() if mine is None else rows.filter(user=mine)

    def reserved(self, who: Access, row: Model) -> frozenset[str]:
        return frozenset()

    def hidden(self, who: Access, row: Model) -> frozenset[str]:
        return frozenset()

    def remove(self, who: Access, row: ConsoleSession) -> None:
        sessions.end_one(row)


class SupportResource(Resource):
    """Times in which an operator acts as a tenant. They begin and end in tenants/members/support.py."""

    model = SupportSession
    area = Area.AUDIT
    rights = frozenset({"view", "add"})
    fields = ("tenant", "role", "reason")

    def validate(self, row: SupportSession) -> None:
        """Check what was given; the rest is not there before it begins."""
        row.clean_fields(exclude={"operator", "operator_name", "started_at", "ends_at"})

    def insert(self, who: Access, row: SupportSession, extra: Values) -> None:
        operator = maker()
        if operator is None:  # the tenant's people are told who it was
            raise PermissionDenied("Only a token that a person made can act as a tenant.")
        made = support.start(who, operator, row.tenant, role=row.role, reason=row.reason)
        row.pk, row._state.adding = made.pk, False


class ExternalIdentityResource(PlatformResource):
    """Names of people at identity providers: a row lets its subject in as its user."""

    model = ExternalIdentity
    area = Area.SIGN_IN
    fields = ("issuer", "subject", "user")


def role_of(user: Any) -> str:
    """Return what somebody is on the platform; empty for people of tenants alone."""
    if user.is_superuser:
        return "operator"
    return "auditor" if getattr(user, "platform_role", None) is not None else ""


USERS = register(UserResource())
SESSIONS = register(SessionResource())
SUPPORT = register(SupportResource())
EXTERNAL_IDENTITIES = register(ExternalIdentityResource())
