"""Decide what a person or a token may do, and in which tenants.

Operators of the platform are superusers and may do everything; auditors read it. Everybody else gets their
rights from their memberships alone. Django's staff flag and model permissions count for nothing, so that
none can be left over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Exists, QuerySet

from gateway_project.lib.prepared import PreparedQuery
from tenants.access.rights import (
    AUDITOR,
    EVERYTHING,
    NONE,
    Area,
    Permissions,
    Right,
    permissions_of,
    reading_only,
)
from tenants.models import Membership, PlatformRole, Tenant


@dataclass(frozen=True, slots=True)
class Access:
    """A person's or a token's permissions, as they were when the request came in."""

    platform: Permissions = NONE  # in every tenant, and for the platform's own rows
    grants: Mapping[int, Permissions] = field(default_factory=dict)  # by tenant
    aliases_only: frozenset[int] = (
        frozenset()
    )  # tenants that are not shown what answers their calls
    # The rows of the tenants they work in, which came with the memberships: whoever asks needs no query.
    known: Mapping[int, Tenant] = field(default_factory=dict, compare=False, repr=False)

    def __bool__(self) -> bool:
        """Tell whether there is anything they may do, which is all it takes to be let in."""
        return bool(self.platform or self.grants)

    @property
    def is_operator(self) -> bool:
        return self.platform == EVERYTHING

    @property
    def sees_all_tenants(self) -> bool:
        """Tell whether nothing has to be left out of a list for them: operators and auditors."""
        return bool(self.platform)

    @property
    def oversees_platform(self) -> bool:
        """Tell whether they may read all that auditors may: operators and auditors, not a token that was
        given less.
        """
        return self.platform >= AUDITOR

    @property
    def tenants(self) -> frozenset[int]:
        return frozenset(self.grants)

    @property
    def sees_upstreams(self) -> bool:
        """Tell whether the platform's providers and models are shown to them."""
        return self.sees_all_tenants or not self.tenants <= self.aliases_only

    def sees_upstreams_of(self, tenant_id: int | None) -> bool:
        """Tell whether they are shown what answered this tenant's calls; None: those of all they see."""
        if self.sees_all_tenants or not self.aliases_only:
            return True
        return tenant_id is not None and tenant_id not in self.aliases_only

    def within(self, tenant_id: int | None) -> Permissions:
        """Return every permission in one tenant; None stands for the platform."""
        own = self.grants.get(tenant_id, NONE) if tenant_id is not None else NONE
        return self.platform | own

    def may(self, right: Right, area: Area, tenant_id: int | None) -> bool:
        """Tell whether they may do this to a row of the tenant; None stands for the platform."""
        return (area, right) in self.within(tenant_id)

    def may_somewhere(self, right: Right, area: Area) -> bool:
        return (area, right) in self.platform or bool(self.tenants_where(right, area))

    def tenants_where(self, right: Right, area: Area) -> frozenset[int]:
        """Return the tenants in which a membership gives this right."""
        return frozenset(t for t, held in self.grants.items() if (area, right) in held)

    def may_grant(self, permissions: Permissions, tenant_id: int | None) -> bool:
        """Tell whether they hold all these permissions in that tenant themselves."""
        return permissions <= self.within(tenant_id)


NOBODY = Access()
OPERATOR = Access(platform=EVERYTHING)


def _roles(user: int) -> QuerySet[PlatformRole]:
    return PlatformRole.objects.filter(user=user)


_MEMBERSHIPS = PreparedQuery(
    lambda user: (
        Membership.objects.filter(user=user)
        .select_related("tenant", "custom_role")
        .order_by()
        .annotate(is_auditors=Exists(_roles(user)))
    )
)


def access_of(user: AbstractBaseUser | AnonymousUser) -> Access:
    """Read the person's access: a query, none for operators and strangers; two for whoever is no member."""
    if not user.is_active:
        return NOBODY
    if getattr(user, "is_superuser", False):
        return OPERATOR
    found: list[Any] = _MEMBERSHIPS.rows(user.pk)
    is_auditor = found[0].is_auditors if found else _roles(user.pk).exists()
    return Access(
        platform=AUDITOR if is_auditor else NONE,
        grants={row.tenant_id: held_in(row.tenant, row.permissions) for row in found},
        aliases_only=frozenset(row.tenant_id for row in found if not row.tenant.shows_upstreams),
        known={row.tenant_id: row.tenant for row in found},
    )


def access_as(tenant: Tenant, role: str) -> Access:
    """Return the access of somebody who has nothing but this built-in role in this tenant."""
    return Access(
        grants={tenant.pk: held_in(tenant, permissions_of(role))},
        aliases_only=frozenset() if tenant.shows_upstreams else frozenset({tenant.pk}),
        known={tenant.pk: tenant},
    )


def held_in(tenant: Tenant, permissions: Permissions) -> Permissions:
    """Return what is left of a role in this tenant: people of a suspended one change nothing."""
    is_suspended = tenant.status == Tenant.Status.SUSPENDED
    return reading_only(permissions) if is_suspended else permissions
