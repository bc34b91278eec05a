"""Read billing details from the options of a command, and tell them as it prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import CommandResult, errors_as, parse_field
from tenants.access.access import OPERATOR
from tenants.billing.details import lines_of
from tenants.billing.tax import parsed_percent, percent
from tenants.managed import rows
from tenants.managed.setting import put
from tenants.managed.tables import BILLING_DETAILS
from tenants.models import BillingDetails, Tenant

_LINES = ("address", "payment", "note")
_HELP = {
    "name": "the legal name; needed the first time",
    "address": "a line of the address, from street to country; once for each line",
    "tax_id": "such as a VAT number",
    "email": "where questions about invoices go",
    "reference": "the tenant's order number or cost centre, which its invoices name",
    "payment": "a line on how to pay, such as a bank account; once for each line",
    "terms_days": "days from the issue of an invoice until it is due",
    "tax_name": "what the tax is called, such as VAT",
    "tax_percent": "tax that is added, such as 19 or 7.7",
    "note": "a line printed below the amounts; once for each line",
}
_METAVAR = {"terms_days": "DAYS", "tax_percent": "PERCENT", "email": "ADDRESS", "tax_id": "ID"}


def add_to(parser: CommandParser, *, leave_out: str) -> None:
    """Add an option for each detail but one; what is not given stays as it is."""
    for name, told in _HELP.items():
        if name == leave_out:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name in _LINES:
            parser.add_argument(flag, metavar="LINE", action="append", help=f'{told}; "" for none')
        else:
            shown = _METAVAR.get(name, "TEXT")
            empty = "" if name == "name" else '; "" for none'
            parser.add_argument(flag, metavar=shown, help=f"{told}{empty}")


def store(tenant: Tenant | None, options: Mapping[str, Any]) -> CommandResult:
    """Make the details of a tenant or, without one, of the issuer, or change those there are."""
    given = {name: options[name] for name in _HELP if options.get(name) is not None}
    if not given:
        raise ValidationError("Say what to set; --help lists it.")
    values = dict(_values(given))
    with errors_as({"tax_basis_points": "tax_percent"}):
        details, is_new = put(OPERATOR, BillingDetails, {"tenant": tenant}, values)
    return CommandResult({**fields(details), "created": is_new}, in_words(details))


def show(tenant: Tenant | None) -> CommandResult:
    """Tell the details of a tenant or, without one, of the issuer."""
    details = _of(tenant)
    return CommandResult(fields(details), in_words(details))


def remove(tenant: Tenant) -> CommandResult:
    """Remove the details of a tenant."""
    details = _of(tenant)
    told = fields(details)
    rows.remove(OPERATOR, details)
    return CommandResult({**told, "removed": True}, f"Billing details of {tenant.slug!r} removed.")


def _of(tenant: Tenant | None) -> BillingDetails:
    details = BillingDetails.objects.select_related("tenant").filter(tenant=tenant).first()
    if details is not None:
        return details
    command = "set_issuer" if tenant is None else "set_billing_details"
    whose = "the issuer" if tenant is None else f"tenant {tenant.slug!r}"
    raise ValidationError(f"There are no billing details of {whose} yet: {command} writes them.")


def fields(details: BillingDetails) -> dict[str, Any]:
    """Return the details as JSON has them."""
    tenant = None if details.tenant is None else details.tenant.slug
    names = [name for name in BILLING_DETAILS.fields if name != "tenant"]
    return {
        "id": details.pk,
        "tenant": tenant,
        **{name: getattr(details, name) for name in names},
    }


def in_words(details: BillingDetails) -> str:
    """Return the details as lines, those that say something."""
    found = fields(details)
    tax = found.pop("tax_basis_points")
    found["tax_percent"] = None if tax is None else percent(tax)
    lines = []
    for name in _HELP:
        value = found[name]
        if value not in {None, ""}:
            shown = ", ".join(lines_of(value)) if name in _LINES else value
            lines.append(f"{name.replace('_', ' ')}: {shown}")
    return "\n".join(lines)


def _values(given: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the columns; an empty text takes a number away."""
    for name, value in given.items():
        if name in _LINES:
            yield name, "\n".join(line for line in value if line)
        elif name == "tax_percent":
            points = parse_field(name, parsed_percent, value) if value else None
            yield "tax_basis_points", points
        elif name == "terms_days":
            yield name, parse_field(name, _days, value) if value else None
        else:
            yield name, value


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise ValueError(f"{text!r} is not a number of days.")
    return int(text)
