"""Validate the fields of tenants and keys."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from tenants.access.rights import ROLES, TENANT_NAMES
from tenants.access.scopes import permissions_of

# generate: ask models; models: list them; store: keep responses and conversations; read: get them back.
SCOPES = frozenset({"generate", "models", "read", "store"})
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")


def validate_time_zone(value: str) -> None:
    if value not in available_timezones():
        raise ValidationError(
            _("%(value)s is not an IANA time zone, such as Europe/Berlin.") % {"value": repr(value)}
        )


def validate_scopes(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(scope, str) for scope in value):
        raise ValidationError(_("Scopes must be a list of names."))
    if unknown := sorted(set(value) - SCOPES):
        known = ", ".join(sorted(SCOPES))
        raise ValidationError(
            _("Unknown scope %(unknown)s; the scopes are %(known)s.")
            % {"unknown": repr(unknown[0]), "known": known}
        )


def validate_token_scopes(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(scope, str) for scope in value):
        raise ValidationError(_("Scopes must be a list of texts."))
    try:
        permissions_of(value)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def validate_networks(value: Any) -> None:
    if not isinstance(value, list):
        raise ValidationError(_("Networks must be a list of CIDR texts."))
    for entry in value:
        if not isinstance(entry, str):
            raise ValidationError(
                _("%(entry)s is not a network; write it as text.") % {"entry": repr(entry)}
            )
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            raise ValidationError(
                _("%(entry)s is not a network: %(error)s") % {"entry": repr(entry), "error": error}
            ) from error


def validate_thresholds(value: Any) -> None:
    """Accept percentages, of which some may lie above 100."""
    if not isinstance(value, list) or not all(type(entry) is int for entry in value):
        raise ValidationError(
            _("Thresholds must be a list of whole numbers, such as [50, 80, 100].")
        )
    for entry in value:
        if not 1 <= entry <= 1000:
            raise ValidationError(
                _("%(entry)s is not a percentage between 1 and 1000.") % {"entry": repr(entry)}
            )


def validate_emails(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValidationError(_("E-mail addresses must be a list of texts."))
    for entry in value:
        try:
            validate_email(entry)
        except ValidationError as error:
            raise ValidationError(
                _("%(entry)s is not an e-mail address.") % {"entry": repr(entry)}
            ) from error


def validate_permissions(value: Any) -> None:
    """Accept names of permissions that a tenant's people may have; to change a thing they must see it."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError(_('Permissions must be a list of names, such as ["keys.view"].'))
    for name in value:
        if name not in TENANT_NAMES:
            known = ", ".join(TENANT_NAMES)
            raise ValidationError(
                _("A tenant's role cannot give %(name)s; it can give %(known)s.")
                % {"name": repr(name), "known": known}
            )
        seen = f"{name.partition('.')[0]}.view"
        if seen not in value:
            raise ValidationError(
                _("%(name)s needs %(seen)s beside it.") % {"name": repr(name), "seen": repr(seen)}
            )


def validate_role_name(value: str) -> None:
    """Refuse the names of built-in roles, which a command or file could not tell from the tenant's own."""
    if value.strip().lower() in ROLES:
        raise ValidationError(
            _("%(value)s is a built-in role; choose another name.") % {"value": repr(value)}
        )


def validate_group_roles(value: object) -> None:
    """Check a mapping of group names to roles."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValidationError(_('Write an object of groups and roles: {"engineers": "developer"}.'))
    for name, role in value.items():
        if not isinstance(role, str) or role not in ROLES:
            known = ", ".join(ROLES)
            raise ValidationError(
                _("%(role)s, for the group %(name)s, is not a role: %(known)s.")
                % {"role": repr(role), "name": repr(name), "known": known}
            )


def validate_domain(value: str) -> None:
    """Check a mail domain, such as example.com."""
    if not _DOMAIN.match(value):
        raise ValidationError(
            _("%(value)s is not a domain; write it like example.com.") % {"value": repr(value)}
        )
