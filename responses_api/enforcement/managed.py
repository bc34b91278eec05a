"""State the rules for guardrails and their events.

People of a tenant see that the platform's guardrails apply to them, and neither what they look for nor where
they ask; those are the operators' alone to change.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.translation import gettext

from gateway_project.lib.secret import Secret
from responses_api.enforcement import secrets, validating
from responses_api.models import Guardrail, GuardrailEvent
from responses_api.webhooks import signing
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.managed.resource import Resource, Values, register

MAX_SECRET = 10_000


class GuardrailResource(Resource):
    """Guardrails. `secret` goes in and is never shown; the one a webhook of ours signs with is made here and
    shown once, unless it is given."""

    model = Guardrail
    named_by = ("name",)
    area = Area.GUARDRAILS
    shows_platform_rows = True
    fields = (
        "tenant",
        "alias",
        "api_key",
        "name",
        "kind",
        "action",
        "stages",
        "config",
        "reversible",
        "provider",
        "url",
        "allow_private_network",
        "on_failure",
        "timeout_ms",
        "parallel",
        "enabled",
    )
    extra = ("secret",)
    # Its secret is sealed for its tenant; another kind is another guardrail.
    fixed = ("tenant", "kind")
    of_operators = ("allow_private_network",)
    hidden_of_platform = ("config", "provider", "url", "allow_private_network", "timeout_ms")

    def reserved(self, who: Access, row: Model) -> frozenset[str]:
        """Reserve the URL too if an operator allowed it into their network."""
        found = super().reserved(who, row)
        is_let_in = isinstance(row, Guardrail) and row.allow_private_network
        return found | {"url"} if is_let_in and found else found

    def prepare(self, who: Access, row: Guardrail, extra: Values, *, is_new: bool) -> Secret | None:
        secret = extra.get("secret")
        if secret is not None and not row.is_external:
            raise ValidationError({"secret": gettext("Only an external check has a secret.")})
        if secret is not None and row.provider_id is not None:
            raise ValidationError({"secret": gettext("The provider has a credential of its own.")})
        if secret is not None:
            _checked(secret, is_signing=validating.is_signed(row))
        elif not is_new and _lacks_secret(row):
            told = gettext(
                "Enter the secret for this address: no other host is sent the one there is."
            )
            raise ValidationError({"secret": told})
        return None

    def validate(self, row: Guardrail) -> None:
        super().validate(row)
        validating.check(row)

    def finish(self, row: Guardrail, extra: Values, *, is_new: bool) -> Secret | None:
        given = extra.get("secret")
        if given is not None:
            secrets.set_secret(row, given if isinstance(given, Secret) else Secret(given))
            return None
        if not is_new or not validating.is_signed(row):
            return None
        made = signing.new_secret()
        secrets.set_secret(row, made)
        return made


def _lacks_secret(row: Guardrail) -> bool:
    """Return whether the row has a secret for another host, or needs one and has none."""
    if not row.is_external or row.provider_id is not None:
        return False
    if not row.sealed_secret:
        return validating.is_signed(row)
    return row.secret_host != row.host


def _checked(secret: Any, *, is_signing: bool) -> None:
    text = secret.reveal() if isinstance(secret, Secret) else secret
    if not isinstance(text, str) or not 0 < len(text) <= MAX_SECRET:
        told = gettext("Write a text of 1 to %(most)s characters.") % {"most": MAX_SECRET}
        raise ValidationError({"secret": told})
    if not text.isascii() or not text.isprintable():
        raise ValidationError({"secret": gettext("Write letters, digits and signs alone.")})
    if is_signing:
        try:
            signing.headers("check", b"", [Secret(text)])
        except signing.UnusableSecret as error:
            raise ValidationError({"secret": str(error)}) from None


class GuardrailEventResource(Resource):
    """Events of guardrails, which calls write."""

    model = GuardrailEvent
    area = Area.GUARDRAILS
    rights = frozenset({"view"})


GUARDRAILS = register(GuardrailResource())
EVENTS = register(GuardrailEventResource())
