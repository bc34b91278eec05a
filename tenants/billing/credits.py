"""Keep prepaid credit as double entries that are only ever added to.

A movement that gives credit (a grant, a refund, an upward adjustment) is a source; a movement that takes
credit names the source it takes from, so that the rest of each source is the sum of its own entry and
those of its uses. Sources are used up in the order in which they expire, then by priority, then by age.
Code that moves a tenant's credit holds the lock of its InvoiceSequence, so that the balance is never
spent twice; a reference makes every movement once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db.models import F, Q, Sum

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from tenants.models import CreditEntry, CreditTransaction, Invoice, InvoiceSequence

Kind = CreditTransaction.Kind
Account = CreditEntry.Account
OF_CREDIT = Q(entries__account=Account.CREDIT)
_GIVES = Q(entries__account=Account.CREDIT, entries__amount_cents__gt=0)


@dataclass(frozen=True, slots=True)
class Source:
    """The credit left of one grant, refund or adjustment."""

    id: int
    rest_cents: int
    account: str  # who gave it, and gets back what expires


def lock(tenant_id: int) -> InvoiceSequence:
    """Lock everything that changes the tenant's credit or invoices until the transaction ends."""
    InvoiceSequence.objects.get_or_create(tenant_id=tenant_id)
    return InvoiceSequence.objects.select_for_update().get(tenant_id=tenant_id)


def balance(tenant_id: int) -> int:
    """Return the balance in cents, the sum of the entries."""
    entries = CreditEntry.objects.filter(transaction__tenant_id=tenant_id, account=Account.CREDIT)
    return int(entries.aggregate(total=Sum("amount_cents"))["total"] or 0)


def grant(
    tenant_id: int,
    amount_cents: int,
    reference: str,
    *,
    expires_at: datetime | None = None,
    priority: int = 0,
    is_paid: bool = False,
    reason: str = "",
    actor: str = "",
) -> CreditTransaction:
    """Give credit; `is_paid`: the tenant bought it. The same reference again changes nothing."""
    if amount_cents <= 0:
        raise ValidationError({"amount": "A grant must be more than 0.00."})
    movement = CreditTransaction(
        tenant_id=tenant_id,
        kind=Kind.GRANT,
        reference=reference,
        expires_at=expires_at,
        priority=priority,
        reason=reason,
        actor=actor,
    )
    return _once(movement, amount_cents, Account.CASH if is_paid else Account.PROMOTION)


def check_expiry(tenant_id: int, reference: str, expires_at: datetime | None) -> None:
    """Refuse a new grant that would expire at once. One that was given before may be sent again."""
    if expires_at is None or expires_at > clock.now():
        return
    if not CreditTransaction.objects.filter(tenant_id=tenant_id, reference=reference).exists():
        raise ValidationError(
            f"{expires_at:%Y-%m-%d %H:%M} UTC is in the past; credit must expire later."
        )


def refund(
    tenant_id: int,
    amount_cents: int,
    reference: str,
    *,
    invoice: Invoice,
    reason: str = "",
    actor: str = "",
) -> CreditTransaction:
    """Give back credit that was spent on an invoice; it no longer expires."""
    if amount_cents <= 0:
        raise ValidationError({"amount": "A refund must be more than 0.00."})
    movement = CreditTransaction(
        tenant_id=tenant_id,
        kind=Kind.REFUND,
        reference=reference,
        invoice=invoice,
        reason=reason,
        actor=actor,
    )
    return _once(movement, amount_cents, Account.REVENUE)


def adjust(
    tenant_id: int, amount_cents: int, reference: str, *, reason: str, actor: str = ""
) -> list[CreditTransaction]:
    """Correct the credit, up or down. Raise ValidationError for more than there is."""
    if not reason or amount_cents == 0:
        raise ValidationError({"reason": "An adjustment needs a reason and an amount."})
    with durable_transaction():
        lock(tenant_id)
        known = list(
            CreditTransaction.objects.filter(
                tenant_id=tenant_id, reference__startswith=f"{reference}:"
            )
        )
        if known:
            return known
        if amount_cents > 0:
            movement = _movement(tenant_id, Kind.ADJUST, f"{reference}:up", reason, actor)
            return [_once(movement, amount_cents, Account.PROMOTION)]
        taken = _take(tenant_id, -amount_cents, Kind.ADJUST, reference, reason=reason, actor=actor)
        if sum(amount for _, amount in taken) < -amount_cents:
            raise ValidationError({"amount": "There is not that much credit."})
        return [movement for movement, _ in taken]


def spend(invoice: Invoice, amount_cents: int) -> int:
    """Pay as much of an invoice as there is credit for, and return that amount. The caller holds the
    lock.
    """
    taken = _take(
        invoice.tenant_id, amount_cents, Kind.SPEND, f"invoice:{invoice.pk}", invoice=invoice
    )
    return sum(amount for _, amount in taken)


def expire(now: datetime | None = None) -> int:
    """Take back what is left of expired grants; return how many had something left."""
    now = now or clock.now()
    expired = CreditTransaction.objects.filter(kind=Kind.GRANT, expires_at__lte=now)
    done = 0
    for tenant_id in expired.order_by().values_list("tenant_id", flat=True).distinct():
        with durable_transaction():
            lock(tenant_id)
            for source in _sources(tenant_id, Q(expires_at__lte=now)):
                movement = _movement(tenant_id, Kind.EXPIRE, f"expire:{source.id}", "", "")
                movement.grant_id = source.id
                _once(movement, -source.rest_cents, source.account)
                done += 1
    return done


def _take(
    tenant_id: int,
    amount_cents: int,
    kind: Kind,
    reference: str,
    *,
    invoice: Invoice | None = None,
    reason: str = "",
    actor: str = "",
) -> list[tuple[CreditTransaction, int]]:
    """Take from one source after the other until the amount is reached or nothing is left."""
    taken: list[tuple[CreditTransaction, int]] = []
    for source in sources_left(tenant_id):
        amount = min(source.rest_cents, amount_cents)
        if amount <= 0:
            break
        movement = _movement(tenant_id, kind, f"{reference}:{source.id}", reason, actor)
        movement.grant_id, movement.invoice = source.id, invoice
        account = Account.REVENUE if kind == Kind.SPEND else Account.PROMOTION
        taken.append((_once(movement, -amount, account), amount))
        amount_cents -= amount
    return taken


def sources_left(tenant_id: int) -> list[Source]:
    """Return what may be spent, in the order in which it is used up."""
    return _sources(tenant_id, Q(expires_at=None) | Q(expires_at__gt=clock.now()))


def _sources(tenant_id: int, condition: Q) -> list[Source]:
    """Return the sources with something left, in the order in which they are used up."""
    gave = CreditTransaction.objects.filter(_GIVES, condition, tenant_id=tenant_id)
    gave = gave.order_by(F("expires_at").asc(nulls_last=True), "priority", "id")
    uses = dict(
        CreditEntry.objects.filter(
            transaction__tenant_id=tenant_id,
            transaction__grant__isnull=False,
            account=Account.CREDIT,
        )
        .order_by()
        .values_list("transaction__grant")
        .annotate(Sum("amount_cents"))
    )
    accounts = dict(
        CreditEntry.objects.filter(transaction__in=gave.values("pk"))
        .exclude(account=Account.CREDIT)
        .values_list("transaction", "account")
    )
    sources = [
        Source(pk, given + uses.get(pk, 0), accounts[pk])
        for pk, given in gave.values_list("pk", "entries__amount_cents")
    ]
    return [source for source in sources if source.rest_cents > 0]


def _movement(
    tenant_id: int, kind: Kind, reference: str, reason: str, actor: str
) -> CreditTransaction:
    return CreditTransaction(
        tenant_id=tenant_id, kind=kind, reference=reference, reason=reason, actor=actor
    )


def _once(movement: CreditTransaction, amount_cents: int, account: str) -> CreditTransaction:
    """Write a movement and both of its sides, unless its reference exists already."""
    with durable_transaction():
        lock(movement.tenant_id)
        known = CreditTransaction.objects.filter(
            tenant_id=movement.tenant_id, reference=movement.reference
        ).first()
        if known is not None:
            return _same(known, movement, amount_cents)
        movement.save(force_insert=True)
        sides = ((Account.CREDIT, amount_cents), (account, -amount_cents))
        CreditEntry.objects.bulk_create(
            CreditEntry(transaction=movement, account=side, amount_cents=amount)
            for side, amount in sides
        )
    return movement


def _same(
    known: CreditTransaction, asked: CreditTransaction, amount_cents: int
) -> CreditTransaction:
    side = known.entries.get(account=Account.CREDIT)
    if (known.kind, side.amount_cents) != (asked.kind, amount_cents):
        raise ValidationError(
            {"reference": f"{known.reference!r} is already the reference of another movement."}
        )
    return known
