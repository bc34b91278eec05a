"""Note thresholds of budgets once per period, and tell people by e-mail.

What counts is what the ledger has booked. Each threshold is noted in a transaction of its own, in which
further listeners can record it durably; e-mail follows, at least once, for a day.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction
from django.db.models import Q, QuerySet
from msgspec import Struct

from gateway_project.lib import clock
from tenants.budgets import dollars
from tenants.members import console_address
from tenants.models import BudgetAlert, BudgetWindow

logger = logging.getLogger("tollgate.budgets")

# Usage of a period that is over may be booked this much later and still reach a threshold.
LATE = timedelta(days=2)
SEND_FOR = timedelta(days=1)


class Reached(Struct, frozen=True):
    """A threshold that was reached; `api_key` is the public id, empty for a whole tenant's budget."""

    tenant_id: int
    budget_id: int
    budget: str
    api_key: str
    period: str
    starts_at: datetime
    ends_at: datetime | None
    percent: int
    spent_nano: int
    amount_nano: int

    @property
    def subject(self) -> str:
        """Return a name that no other threshold has."""
        return f"budget {self.budget_id} {int(self.starts_at.timestamp())} {self.percent}"


Tell = Callable[[Reached], None]


def is_anything_spent() -> bool:
    """Tell whether there is anything to look at."""
    return _open_windows().exists()


def note_thresholds(tell: Tell) -> int:
    """Note and announce every threshold newly reached; return how many there were."""
    missing = _find_missing()
    windows = BudgetWindow.objects.filter(pk__in=missing).select_related("budget__api_key")
    return sum(
        _note(window, percent, tell)
        for window in windows.order_by("pk")
        for percent in sorted(missing[window.pk])
    )


def is_any_due() -> bool:
    """Tell whether somebody is still to be told by e-mail, and can be."""
    return settings.SMTP_URL is not None and _find_unsent().exists()


def send_due() -> int:
    """Send what is due and return how many alerts that were. What cannot be sent now is retried by the
    next call.
    """
    if settings.SMTP_URL is None:
        return 0
    due = list(_find_unsent().select_related("window__budget__tenant", "window__budget__api_key"))
    if not due:
        return 0
    connection = mail.get_connection()
    try:
        connection.open()
    except OSError as error:  # which SMTP's own errors are
        logger.warning("the mail server is unreachable: %s", type(error).__name__)
        return 0
    try:
        return sum(_send(alert, connection) for alert in due)
    finally:
        connection.close()


def _open_windows() -> QuerySet[BudgetWindow]:
    is_open = Q(ends_at=None) | Q(ends_at__gt=clock.now() - LATE)
    return BudgetWindow.objects.filter(is_open, spent_nano__gt=0, budget__enabled=True)


def _find_missing() -> dict[int, set[int]]:
    """Return thresholds not noted yet, by window; in plain values, because every window is looked at each
    time.
    """
    reached: dict[int, set[int]] = {}
    windows = _open_windows().values_list(
        "pk", "spent_nano", "budget__amount_nano", "budget__thresholds"
    )
    for pk, spent, amount, thresholds in windows.iterator():
        percents = {percent for percent in thresholds if spent * 100 >= percent * amount}
        if percents:
            reached[pk] = percents
    known = BudgetAlert.objects.filter(window__in=_open_windows())
    for window, percent in known.values_list("window", "percent").iterator():
        reached.get(window, set()).discard(percent)
    return {pk: percents for pk, percents in reached.items() if percents}


@transaction.atomic
def _note(window: BudgetWindow, percent: int, tell: Tell) -> bool:
    """Note a threshold. Of two processes that note the same at the same time, one does."""
    budget, now = window.budget, clock.now()
    _, is_new = BudgetAlert.objects.get_or_create(
        window=window,
        percent=percent,
        defaults={
            "spent_nano": window.spent_nano,
            "reached_at": now,
            "sent_at": None if budget.alert_emails else now,  # then nobody is left to be told
        },
    )
    if is_new:
        tell(_reached(window, percent, window.spent_nano))
    return is_new


def _reached(window: BudgetWindow, percent: int, spent_nano: int) -> Reached:
    budget = window.budget
    return Reached(
        tenant_id=budget.tenant_id,
        budget_id=budget.pk,
        budget=budget.name,
        api_key="" if budget.api_key is None else budget.api_key.public_id,
        period=budget.period,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        percent=percent,
        spent_nano=spent_nano,
        amount_nano=budget.amount_nano,
    )


def _find_unsent() -> QuerySet[BudgetAlert]:
    since = clock.now() - SEND_FOR
    return BudgetAlert.objects.filter(sent_at=None, reached_at__gt=since).order_by("pk")


def _send(alert: BudgetAlert, connection: BaseEmailBackend) -> bool:
    """Send, then mark: if the process dies in between, it is sent twice rather than never."""
    unsent = BudgetAlert.objects.filter(pk=alert.pk, sent_at=None)
    if not unsent.exists():  # another process has
        return False
    try:
        _message(alert, connection).send()
    except Exception as error:  # noqa: BLE001  # one that cannot be sent must not keep the others
        logger.warning("budget alert %s could not be sent: %s", alert.pk, type(error).__name__)
        connection.close()  # the next one opens it anew
        return False
    return unsent.update(sent_at=clock.now()) == 1


def _message(alert: BudgetAlert, connection: BaseEmailBackend) -> EmailMessage:
    budget = alert.window.budget
    reached = _reached(alert.window, alert.percent, alert.spent_nano)
    name = " ".join(budget.name.split())  # a line break would end the subject
    whose = f"key {reached.api_key} of {budget.tenant}" if reached.api_key else str(budget.tenant)
    text = (
        f"The budget {name!r} ({whose}) has reached {alert.percent} %.\n\n"
        f"Spent:  ${dollars.to_text(alert.spent_nano)}\n"
        f"Amount: ${dollars.to_text(budget.amount_nano)}, {_period(reached)}\n"
    )
    if budget.mode == budget.Mode.HARD:
        text += "\nCalls that would exceed it are refused.\n"
    if settings.PUBLIC_URL:
        text += f"\n{console_address.of()}/console/\n"
    return EmailMessage(
        subject=f"Budget {name!r} has reached {alert.percent} %",
        body=text,
        to=budget.alert_emails,
        connection=connection,
    )


def _period(reached: Reached) -> str:
    if reached.ends_at is None:
        return "once"
    return f"{reached.period}, until {reached.ends_at:%Y-%m-%d %H:%M} UTC"
