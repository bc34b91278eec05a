"""State the rules for tenants, their keys, bounds and prices, and what the ledger wrote of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.utils.text import slugify

from gateway_project.lib import actor
from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.access.rights import Area, Right
from tenants.billing import credits as prepaid
from tenants.keys import keys
from tenants.managed.resource import Resource, Row, Values, register
from tenants.managed.values import cleaned
from tenants.models import (
    ApiKey,
    BillingDetails,
    BillingPeriod,
    Budget,
    CreditTransaction,
    Invoice,
    PriceLine,
    PriceVersion,
    RateLimit,
    Tenant,
    UsageDay,
    UsageHour,
    UsageRow,
)

MAX_CENTS = 10**15
VIEWED: frozenset[Right] = frozenset({"view"})


class TenantResource(Resource):
    """Tenants. Operators make and remove them; owners and admins may rename their own."""

    model = Tenant
    named_by = ("slug",)
    area = Area.TENANT
    fields = (
        "name",
        "slug",
        "time_zone",
        "status",
        "allow_direct_targets",
        "store_by_default",
        "retention_days",
        "shows_upstreams",
        "requires_second_factor",
        "requires_identity_provider",
    )
    fixed = ()
    of_operators = ("slug", "status", "allow_direct_targets", "shows_upstreams")
    OF_SIGN_IN = frozenset({"requires_second_factor", "requires_identity_provider"})

    def reserved(self, who: Access, row: Model) -> frozenset[str]:
        """Leave it to owners what signing in to their tenant takes."""
        is_theirs = who.may("change", Area.SIGN_IN, row.pk)
        held = super().reserved(who, row)
        return held if is_theirs else held | self.OF_SIGN_IN

    def why_reserved(self, name: str) -> str:
        if name in self.OF_SIGN_IN:
            return "Only an owner of the tenant sets this, or an operator of the platform."
        return super().why_reserved(name)

    def prepare(self, who: Access, row: Tenant, extra: Values, *, is_new: bool) -> Secret | None:
        if is_new and not row.slug:
            row.slug = slugify(row.name)[:63]
        return None


class KeyResource(Resource):
    """API keys, of which the secret is returned once. They are rotated and revoked in tenants/keys."""

    model = ApiKey
    named_by = ("name",)
    area = Area.KEYS
    key = "public_id"
    fields = ("tenant", "name", "scopes", "all_aliases", "allowed_networks", "expires_at")

    def prepare(self, who: Access, row: ApiKey, extra: Values, *, is_new: bool) -> Secret | None:
        maker = actor.current()
        if is_new and maker.kind == "person":
            row.created_by_id = int(maker.id)
        return None

    def finish(self, row: ApiKey, extra: Values, *, is_new: bool) -> Secret | None:
        return keys.add_secret(row) if is_new else None

    def check_removal(self, row: ApiKey) -> None:
        """Keep a key that somebody may be using: what is meant is mostly to revoke one."""
        if row.revoked_at is None and row.last_used_at is not None:
            raise ValidationError("This key was used: revoke it first.", code="conflict")


class Bound(Resource):
    """Budgets and rate limits: only operators change those of a whole tenant, its people those of a key."""

    area = Area.LIMITS
    fixed: ClassVar[tuple[str, ...]] = ("tenant", "api_key")

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        if not super().may(who, right, row):
            return False
        is_of_tenant = row is not None and getattr(row, "api_key_id", 0) is None
        return right == "view" or not is_of_tenant or (self.area, right) in who.platform


class LimitResource(Bound):
    model = RateLimit
    fields = ("tenant", "api_key", "metric", "window", "amount")


class BudgetResource(Bound):
    model = Budget
    named_by = ("name",)
    fields = (
        "tenant",
        "api_key",
        "name",
        "amount_nano",
        "period",
        "mode",
        "counts_list_price",
        "thresholds",
        "alert_emails",
        "enabled",
    )
    fixed = (*Bound.fixed, "counts_list_price")
    # What a model costs the operator could be read from what such a budget spends.
    of_operators = ("counts_list_price",)


class PriceResource(Resource):
    """Price versions. Operators see and make them; tenants see those published for what they are charged.

    `lines` are the prices themselves: a list of objects with the columns of `PriceLine`.
    """

    model = PriceVersion
    area = Area.PRICES
    fields = ("book", "tenant", "provider", "model", "effective_from", "source")
    extra = ("lines",)
    fixed = ()

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        is_published = isinstance(row, PriceVersion) and row.published_at is not None
        return (right == "view" or not is_published) and super().may(who, right, row)

    def visible(self, who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
        rows = super().visible(who, rows)
        if who.sees_all_tenants:
            return rows
        return rows.filter(book=PriceVersion.Book.CHARGE, published_at__isnull=False)

    def finish(self, row: PriceVersion, extra: Values, *, is_new: bool) -> Secret | None:
        if "lines" in extra:
            if not isinstance(extra["lines"], list | tuple):
                raise ValidationError({"lines": "Write a list of objects."})
            row.lines.all().delete()
            lines = [_price_line(row, values) for values in extra["lines"]]
            _refuse_repeated(lines)
            PriceLine.objects.bulk_create(lines)
        return None


LINE_FIELDS = ("token_class", "service_tier", "above_tokens", "pico_per_token")


def _price_line(version: PriceVersion, values: Values) -> PriceLine:
    if not isinstance(values, Mapping) or values.keys() - set(LINE_FIELDS):
        raise ValidationError({"lines": f"The fields of a line are {', '.join(LINE_FIELDS)}."})
    line = PriceLine(version=version)
    try:
        for name, value in values.items():
            field: Any = PriceLine._meta.get_field(name)
            setattr(line, name, cleaned(field, value, line))
        line.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise ValidationError({"lines": error.messages}) from error
    return line


def _refuse_repeated(lines: list[PriceLine]) -> None:
    places = {(line.token_class, line.service_tier, line.above_tokens) for line in lines}
    if len(places) < len(lines):
        raise ValidationError({"lines": "A class has two prices in one tier and threshold."})


class CreditResource(Resource):
    """Movements of prepaid credit. Operators grant; nothing is changed or deleted."""

    model = CreditTransaction
    named_by = ("reference",)
    area = Area.BILLING
    rights = frozenset({"view", "add"})
    fields = ("tenant", "reference", "expires_at", "priority", "reason")
    extra = ("amount_cents", "is_paid")

    def prepare(
        self, who: Access, row: CreditTransaction, extra: Values, *, is_new: bool
    ) -> Secret | None:
        row.kind = CreditTransaction.Kind.GRANT
        amount, is_paid = extra.get("amount_cents"), extra.get("is_paid", False)
        if type(amount) is not int or not 0 < amount <= MAX_CENTS:
            message = f"Write a whole number of cents, more than 0 and at most {MAX_CENTS}."
            raise ValidationError({"amount_cents": message})
        if not isinstance(is_paid, bool):
            raise ValidationError({"is_paid": "Write true or false."})
        try:
            prepaid.check_expiry(row.tenant_id, row.reference, row.expires_at)
        except ValidationError as error:
            raise ValidationError({"expires_at": error.messages}) from error
        return None

    def validate(self, row: CreditTransaction) -> None:
        # The same reference again is no mistake: `insert` looks what was granted by it.
        others = {field.name for field in row._meta.concrete_fields} - set(self.fields)
        row.clean_fields(exclude=others)

    def insert(self, who: Access, row: CreditTransaction, extra: Values) -> None:
        made = prepaid.grant(
            row.tenant_id,
            extra["amount_cents"],
            row.reference,
            expires_at=row.expires_at,
            priority=row.priority,
            is_paid=extra.get("is_paid", False),
            reason=row.reason,
            actor=actor.current().name[:200],
        )
        row.pk = made.pk
        row.refresh_from_db()


class UsageResource(Resource):
    """Rows of the ledger and their sums. What calls cost the operator is nobody else's matter, and what
    answered them only where `Tenant.shows_upstreams`.
    """

    area = Area.USAGE
    rights = VIEWED
    fixed = ()
    OF_OPERATORS = frozenset(
        {"cost", "cost_nano", "cost_version", "list_version", "unfunded_nano", "spool"}
    )
    OF_UPSTREAMS = frozenset({"provider", "upstream_model"})

    def hidden(self, who: Access, row: Model) -> frozenset[str]:
        if who.sees_all_tenants:
            return frozenset()
        shows = who.sees_upstreams_of(getattr(row, "tenant_id", None))
        return self.OF_OPERATORS if shows else self.OF_OPERATORS | self.OF_UPSTREAMS


class UsageRowResource(UsageResource):
    model = UsageRow


class UsageHourResource(UsageResource):
    model = UsageHour


class UsageDayResource(UsageResource):
    model = UsageDay


class PeriodResource(Resource):
    model = BillingPeriod
    area = Area.BILLING
    rights = VIEWED
    fixed = ()


class InvoiceResource(Resource):
    """Invoices. Operators finalize them in tenants/billing."""

    model = Invoice
    area = Area.BILLING
    rights = VIEWED
    fixed = ()


class BillingDetailsResource(Resource):
    """Billing details: of the issuer, by operators, and of those whom invoices are addressed to.

    What is added to an invoice, and by when it is due, is not the customer's to set.
    """

    model = BillingDetails
    area = Area.BILLING_DETAILS
    fields = (
        "tenant",
        "name",
        "address",
        "tax_id",
        "email",
        "reference",
        "payment",
        "terms_days",
        "tax_name",
        "tax_basis_points",
        "note",
    )
    of_operators = ("payment", "terms_days", "tax_name", "tax_basis_points", "note")

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        """Leave it to operators to remove a row that says something of theirs: it would go with the row."""
        if not super().may(who, right, row):
            return False
        held = row is not None and any(
            getattr(row, name) not in {None, ""} for name in self.of_operators
        )
        return right != "delete" or not held or (self.area, right) in who.platform


TENANTS = register(TenantResource())
KEYS = register(KeyResource())
LIMITS = register(LimitResource())
BUDGETS = register(BudgetResource())
PRICES = register(PriceResource())
CREDITS = register(CreditResource())
USAGE_ROWS = register(UsageRowResource())
USAGE_HOURS = register(UsageHourResource())
USAGE_DAYS = register(UsageDayResource())
PERIODS = register(PeriodResource())
INVOICES = register(InvoiceResource())
BILLING_DETAILS = register(BillingDetailsResource())
