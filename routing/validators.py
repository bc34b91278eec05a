"""Validate the fields of providers, models and aliases."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from routing.policy import conditions
from routing.route import CAPABILITIES, FALL_BACKS, ProviderLimits, Quirks

_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_ALIAS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\Z")


def validate_provider_name(value: str) -> None:
    if not _PROVIDER_NAME.match(value):
        raise ValidationError(
            _(
                "%(value)s is not a provider name: lower-case letters, digits, '.', "
                "'_' and '-', beginning with a letter or digit."
            )
            % {"value": repr(value)}
        )


def validate_alias_name(value: str) -> None:
    if not _ALIAS_NAME.match(value):
        raise ValidationError(
            _(
                "%(value)s is not an alias: letters, digits and . _ : / @ + -, "
                "beginning with a letter or digit."
            )
            % {"value": repr(value)}
        )


def validate_base_url(value: str) -> None:
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValidationError(
            _("%(value)s is not an address: %(error)s.") % {"value": repr(value), "error": error}
        ) from error
    if any(character <= " " or character in "\\\x7f" for character in value):
        raise ValidationError(
            _("The base URL must not contain a space, line break, control character or backslash.")
        )
    if not port_is_good:
        raise ValidationError(_("%(value)s is not an http(s) address.") % {"value": repr(value)})
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValidationError(_("%(value)s is not an http(s) address.") % {"value": repr(value)})
    if parts.username is not None or parts.query or parts.fragment:
        raise ValidationError(_("The base URL must not contain a user, query or fragment."))


def validate_quirks(value: Any) -> None:
    try:
        Quirks.from_row(value)
    except (TypeError, ValueError) as error:
        raise ValidationError(str(error)) from error


def validate_capabilities(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError(_("Capabilities must be a list of names."))
    if unknown := sorted(set(value) - CAPABILITIES):
        raise ValidationError(
            _("Unknown capability %(unknown)s; known are %(names)s.")
            % {"unknown": repr(unknown[0]), "names": ", ".join(sorted(CAPABILITIES))}
        )


def validate_limits(value: Any) -> None:
    try:
        ProviderLimits.from_row(value)
    except (TypeError, ValueError) as error:
        raise ValidationError(str(error)) from error


def validate_when(value: Any) -> None:
    try:
        conditions.read(value)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def validate_fall_backs(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError(_("Write a list of names."))
    if unknown := sorted(set(value) - set(FALL_BACKS)):
        raise ValidationError(
            _("Unknown kind of failure %(unknown)s; known are %(names)s.")
            % {"unknown": repr(unknown[0]), "names": ", ".join(FALL_BACKS)}
        )
