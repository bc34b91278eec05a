"""Confirm a mail domain of an identity provider: by an operator's word, or by a record in its DNS.

The record names this console's provider and nobody else's. Whoever can write it decides about the domain's
mail anyway. It is looked up once, when somebody asks; the confirmation stays until the domain is removed.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from gateway_project.lib import dns_txt
from gateway_project.lib.dns_txt import LookupFailed
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.models import IdentityDomain

PREFIX = "_tollgate."
ANOTHERS = (
    "The domain is confirmed for another identity provider; an operator has to settle whose it is."
)


def record_name(domain: IdentityDomain) -> str:
    """Return the name of the TXT record that confirms the domain."""
    return f"{PREFIX}{domain.domain}"


def record_text(domain: IdentityDomain) -> str:
    """Return the text of that record: a digest that differs for each provider and domain."""
    told = f"{domain.provider_id}|{domain.domain.lower()}"
    digest = salted_hmac("tollgate.domain", told, algorithm="sha256").hexdigest()
    return f"tollgate-domain={digest[:32]}"


def confirm_by_dns(who: Access, domain: IdentityDomain) -> None:
    """Confirm a domain whose DNS has the record. Raise PermissionDenied, or ValidationError that says what is
    missing.
    """
    if not who.may("change", Area.SIGN_IN, domain.provider.tenant_id):
        raise PermissionDenied
    if domain.confirmed:
        return
    name, wanted = record_name(domain), record_text(domain)
    try:
        found = dns_txt.records(name)
    except LookupFailed as error:
        raise ValidationError(_("%(error)s Try again.") % {"error": error}) from error
    if wanted not in [text.strip() for text in found]:
        message = f"{name} has no TXT record {wanted!r} yet. A new one may take an hour to be seen."
        raise ValidationError(message)
    confirm(domain)


def confirm(domain: IdentityDomain) -> None:
    """Lead the domain's people to its provider. Raise ValidationError if they are led to another."""
    domain.confirmed = True
    try:
        with transaction.atomic():
            domain.save(update_fields=["confirmed"])
    except IntegrityError as error:
        raise ValidationError(ANOTHERS) from error
