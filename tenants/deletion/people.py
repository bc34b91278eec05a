"""Take people out of a deleted tenant, and delete accounts that are then of no use to anybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from tenants.deletion import rows
from tenants.deletion.plan import Erased
from tenants.models import ConsoleSession, ExternalIdentity, Membership

# Packages whose rows keep an account; those of sign-in go with it.
OURS = frozenset({"tenants", "routing", "responses_api", "admin"})
# Rows of ours by which a person signs in: they go with the account, too.
WAYS_IN = frozenset[type[Model]]({ExternalIdentity, ConsoleSession})


def erase_members(keys: Sequence[Any]) -> int:
    """Delete memberships, and accounts that have no other one and that nothing else names."""
    held = list(Membership.objects.filter(pk__in=keys).values_list("user_id", "tenant_id"))
    users, tenants = {user for user, _ in held}, {tenant for _, tenant in held}
    # Who they were at the tenant's own identity provider.
    ExternalIdentity.objects.filter(user__in=users, member_of__in=tenants).delete()
    count = rows.erase(Erased("tenants.Membership"), keys)
    for user in get_user_model()._default_manager.filter(pk__in=users, is_superuser=False):
        if not _is_named(user):
            kind = ContentType.objects.get_for_model(user)
            LogEntry.objects.filter(content_type=kind, object_id=str(user.pk)).delete()
            user.delete()
    return count


def _is_named(user: Model) -> bool:
    """Tell whether a row of ours leads to the account: another membership, a key it made, its history."""
    ours = (
        link
        for link in user._meta.related_objects
        if link.related_model._meta.app_label in OURS and link.related_model not in WAYS_IN
    )
    return any(
        link.related_model._default_manager.filter(**{link.field.name: user.pk}).exists()
        for link in ours
    )
