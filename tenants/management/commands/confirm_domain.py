"""confirm_domain: a mail domain leads to its tenant's identity provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import AnsweringCommand, CommandResult
from tenants import directory
from tenants.access.access import OPERATOR
from tenants.models import IdentityDomain, Tenant
from tenants.sign_in import domains


class Command(AnsweringCommand):
    help = "Confirm a mail domain of an identity provider, so that its people are led there."
    routes = ("POST identity-domains/{key}/confirm",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("domain", help="such as example.com, as it stands at the provider")
        parser.add_argument("--tenant", help="slug or name; the platform's provider when not given")
        parser.add_argument(
            "--dns", action="store_true", help="only if the domain's DNS has the record for it"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        domain = _domain(options["domain"], tenant)
        if options["dns"]:
            domains.confirm_by_dns(OPERATOR, domain)
        else:
            domains.confirm(domain)
        fields = {
            "domain": domain.domain,
            "tenant": None if tenant is None else tenant.slug,
            "confirmed": domain.confirmed,
            "record_name": domains.record_name(domain),
            "record_text": domains.record_text(domain),
        }
        text = f"{domain.domain!r} leads to the identity provider {domain.provider.name!r}."
        return CommandResult(fields, text)


def _domain(name: str, tenant: Tenant | None) -> IdentityDomain:
    rows = IdentityDomain.objects.filter(domain=name, provider__tenant=tenant)
    found = rows.select_related("provider").first()
    if found is None:
        message = (
            f"No identity provider there has the domain {name!r}: add it to the provider first."
        )
        raise ValidationError({"domain": message})
    return found
