"""Find the people whom commands let in again: the way in when there is no other."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _


def find(username: str) -> User:
    """Return the person with this user name. Raise ValidationError."""
    found = User.objects.filter(username=username).first()
    if found is None:
        raise ValidationError(
            {
                "username": _("There is nobody with the user name %(username)s.")
                % {"username": repr(username)}
            }
        )
    return found
