"""Make the accounts of people: those who accept an invitation, operators and auditors."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction

from gateway_project.lib import ids
from gateway_project.lib.commands import errors_of
from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.models import PlatformRole

PASSWORD_LENGTH = 24
PLATFORM_ROLES = ("operator", "auditor", "")


def create_account(username: str, password: Secret, email: str = "") -> User:
    """Make an account that may do nothing yet. Raise ValidationError that names the field.

    The one place where people get an account of their own.
    """
    user = User(username=get_user_model().normalize_username(username), email=email)
    user.set_unusable_password()
    user.full_clean()
    with errors_of("password"):
        validate_password(password.reveal(), user)
    user.set_password(password.reveal())
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:  # somebody took the name in this very moment
        raise ValidationError({"username": "A user with that username already exists."}) from error
    return user


@transaction.atomic
def create_operator(
    who: Access,
    username: str,
    *,
    email: str = "",
    is_auditor: bool = False,
    new_password: bool = False,
) -> tuple[User, Secret | None]:
    """Make an operator or auditor, of an existing account if there is one of this name.

    Return the password if there is a new one: of a new account, or because it was asked for.
    """
    if not who.is_operator:
        raise PermissionDenied
    user = User.objects.filter(username=username).first()
    password = Secret(ids.base62(PASSWORD_LENGTH)) if user is None or new_password else None
    if user is None:
        assert password is not None
        user = create_account(username, password, email)
    elif password is not None:
        user.set_password(password.reveal())
    user.is_active = True
    if is_auditor:
        _make_auditor(user)
    else:
        user.is_staff = user.is_superuser = True
    if email:
        user.email = email
    user.full_clean()
    user.save()
    return user, password


@transaction.atomic
def set_platform_role(user: User, role: str) -> None:
    """Make an account an operator's, an auditor's, or (empty) of neither. For operators only."""
    is_operator = role == "operator"
    if user.is_superuser != is_operator:
        user.is_staff = user.is_superuser = is_operator
        user.save(update_fields=["is_staff", "is_superuser"])
    if role == "auditor":
        PlatformRole.objects.get_or_create(user=user)
    else:
        PlatformRole.objects.filter(user=user).delete()


def _make_auditor(user: User) -> None:
    if user.is_superuser:
        message = f"{user} is an operator, who may do more than an auditor."
        raise ValidationError({"username": message})
    PlatformRole.objects.get_or_create(user=user)
