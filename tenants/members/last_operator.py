"""Keep an operator who can sign in: without one, nobody could manage the installation.

Accounts are Django's model, and pages, routes and commands write them, so the rule is kept by signals.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import QuerySet
from django.db.models.signals import post_delete, post_save, pre_save
from django.dispatch import receiver
from django.utils.translation import gettext

RIGHTS = frozenset({"is_superuser", "is_active"})  # the columns that make somebody one of them
_LOCK = 0x70116A80  # of PostgreSQL's advisory locks, this is ours; SQLite has one writer anyway
_LOSES = "_loses_the_rights_of_an_operator"


class LastOperator(ValidationError):
    """Nobody would be left who may manage the installation."""

    def __init__(self) -> None:
        super().__init__(
            gettext(
                "The last operator who can sign in stays one: make somebody else an operator first."
            )
        )


def operators() -> QuerySet[User]:
    """Return the operators who can sign in."""
    return User.objects.filter(is_superuser=True, is_active=True)


def keep_an_operator() -> None:
    """Raise LastOperator unless an operator is left, after a change in this transaction.

    The lock is held until the end of it, so that of two operators who demote each other one stays: the
    second to come here sees what the first did.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if not operators().exists():
        raise LastOperator


@receiver(pre_save, sender=User)
def _note_loss(instance: User, raw: bool, update_fields: Collection[str] | None, **_: Any) -> None:
    """Note on an account that it ceases to be an operator's."""
    instance.__dict__.pop(_LOSES, None)  # of an attempt that failed
    written = RIGHTS if update_fields is None else RIGHTS.intersection(update_fields)
    if raw or instance.pk is None or all(getattr(instance, name) for name in written):
        return
    if not operators().filter(pk=instance.pk).exists():
        return
    instance.__dict__[_LOSES] = True
    # Where no transaction is open, the check that follows the change could not undo it.
    if not operators().exclude(pk=instance.pk).exists():
        raise LastOperator


@receiver(post_save, sender=User)
def _keep_an_operator_after_change(instance: User, **_: Any) -> None:
    if instance.__dict__.pop(_LOSES, False):
        keep_an_operator()


@receiver(post_delete, sender=User)
def _keep_an_operator_after_deletion(instance: User, **_: Any) -> None:
    """Check after the rows are gone, however many at once; Django undoes them all if this raises."""
    if instance.is_superuser and instance.is_active:
        keep_an_operator()
