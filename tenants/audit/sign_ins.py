"""Record who signs in and out, and who fails to, however often they try.

A failed sign-in only counts: one row for an address, an account and a minute, and no more rows a minute than
MOST_ROWS, beyond which all that comes is counted together. When the minute is over, a job turns each row into
one event. What was typed as a name is kept only if it is an account's: it may be a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connection, transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway_project.lib import clock
from gateway_project.lib.actor import Actor
from tenants.access.addresses import address_of
from tenants.audit import events, values
from tenants.models import FailedSignIns, Membership, PlatformRole

MINUTE = timedelta(minutes=1)
MOST_ROWS = 100  # a minute
AT_ONCE = 100
LONGEST_NAME = 254
STRANGER = "somebody who is not signed in"

_COUNT = (
    "INSERT INTO tenants_failedsignins (minute, address, user_id, count) VALUES (%s, %s, %s, 1) "
    "ON CONFLICT (minute, address, user_id) DO UPDATE SET count = tenants_failedsignins.count + 1"
)


def connect() -> None:
    """Hear of sign-ins, whichever page or library makes them."""
    user_logged_in.connect(_signed_in, dispatch_uid="audit")
    user_logged_out.connect(_signed_out, dispatch_uid="audit")
    user_login_failed.connect(note_failure, dispatch_uid="audit")


def _signed_in(request: HttpRequest | None, user: Any, **_: Any) -> None:
    _record("sign_in.succeeded", user, request)


def _signed_out(request: HttpRequest | None, user: Any, **_: Any) -> None:
    if user is not None:  # nobody was signed in
        _record("sign_in.ended", user, request)


def _record(action: str, user: Any, request: HttpRequest | None) -> None:
    who = Actor("person", str(user.pk), user.get_username(), _address(request))
    with transaction.atomic():
        for tenant_id in chains_of(user.pk):
            events.record(action, tenant_id=tenant_id, row=user, actor=who)


def chains_of(user_id: int) -> list[int | None]:
    """Return the logs that tell of this person: of the tenants they are a member of, and the platform's if
    there is none or they are an operator or auditor.
    """
    mine = Membership.objects.filter(user=user_id).order_by("tenant")
    tenants: list[int | None] = list(mine.values_list("tenant_id", flat=True))
    is_of_platform = (
        get_user_model()._default_manager.filter(pk=user_id, is_superuser=True).exists()
        or PlatformRole.objects.filter(user=user_id).exists()
    )
    return [None, *tenants] if is_of_platform or not tenants else tenants


def note_failure(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    name = credentials.get(get_user_model().USERNAME_FIELD) or credentials.get("username") or ""
    count_failure(_address(request), _account(str(name)))


def _account(name: str) -> int:
    """Return the account of this name or address; 0 if there is none."""
    if name != values.text(name, LONGEST_NAME):  # nor could it be one
        return 0
    model = get_user_model()
    known = model._default_manager.filter(**{model.USERNAME_FIELD: name})
    found: int | None = known.values_list("pk", flat=True).first()
    return found or 0


def count_failure(address: str, user_id: int) -> None:
    """Count a failed attempt to come in: with a password, a second factor's code (the account is known), or
    the link of an invitation that opens nothing (it is not, and `user_id` is 0).
    """
    minute = clock.now().replace(second=0, microsecond=0)
    key = (minute, address[:64], user_id)
    with transaction.atomic():
        if _is_full(*key):
            key = (minute, "", 0)
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, (_at(minute), *key[1:]))


def _is_full(minute: datetime, address: str, user_id: int) -> bool:
    """Tell whether this would be one row too many of the minute."""
    rows = FailedSignIns.objects.filter(minute=minute)
    return (
        rows.count() >= MOST_ROWS - 1 and not rows.filter(address=address, user_id=user_id).exists()
    )


def _at(minute: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(minute)


def _address(request: HttpRequest | None) -> str:
    return address_of(request) if request is not None else ""


def is_any_minute_over() -> bool:
    return _over(clock.now()).exists()


def record_failures() -> Iterator[None]:
    """Turn minutes that are over into events."""
    while _record_some(clock.now()) == AT_ONCE:
        yield
    yield


@transaction.atomic
def _record_some(now: datetime) -> int:
    rows = list(_over(now).select_for_update().order_by("minute", "pk")[:AT_ONCE])
    FailedSignIns.objects.filter(pk__in=[row.pk for row in rows]).delete()
    users = get_user_model()._default_manager.in_bulk({row.user_id for row in rows})
    for row in rows:
        user = users.get(row.user_id)
        for tenant_id in chains_of(user.pk) if user else [None]:
            events.record(
                "sign_in.failed",
                tenant_id=tenant_id,
                row=user,
                actor=Actor("person", "", STRANGER, row.address),
                details={"minute": row.minute, "count": row.count},
            )
    return len(rows)


def _over(now: datetime) -> QuerySet[FailedSignIns]:
    return FailedSignIns.objects.filter(minute__lte=now - MINUTE)
