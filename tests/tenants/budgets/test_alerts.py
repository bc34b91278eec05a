"""A threshold of a budget is noted once per period, and whoever wants to know is told."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from django.core import mail
from django.db import connection
from pytest_django import Settings

from gateway_project.lib import clock, mail_url
from gateway_project.lib.env import SettingError
from gateway_project.lib.secret import Secret
from responses_api.models import WebhookDelivery
from responses_api.webhooks import budget_news, endpoints, signing
from tenants.budgets import alerts
from tenants.models import Budget, BudgetAlert, BudgetWindow
from tests.support import rows
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.rows import Customer

pytestmark = pytest.mark.django_db

DOLLAR = 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def window(acme: Customer, spent_nano: int, **fields: Any) -> BudgetWindow:
    """The one period of a budget of a dollar."""
    given = {"name": "Team", "amount_nano": DOLLAR, "period": "total", **fields}
    budget = Budget.objects.create(tenant=acme.tenant, **given)
    return BudgetWindow.objects.create(budget=budget, starts_at=EPOCH, spent_nano=spent_nano)


def spend(of: BudgetWindow, nano: int) -> None:
    BudgetWindow.objects.filter(pk=of.pk).update(spent_nano=nano)


def noted() -> list[int]:
    """The percents that calling it now notes."""
    percents: list[int] = []
    alerts.note_thresholds(lambda reached: percents.append(reached.percent))
    return percents


@pytest.fixture
def mailing(settings: Settings) -> None:
    """A mail server is configured; Django's test runner keeps what is sent."""
    settings.SMTP_URL = Secret("smtp://mail.example.com")


# Noted


@pytest.mark.persistence
@pytest.mark.parametrize(
    ("spent", "percents"),
    [
        (0, []),
        (DOLLAR // 2 - 1, []),
        (DOLLAR // 2, [50]),
        (DOLLAR * 8 // 10, [50, 80]),
        (DOLLAR - 1, [50, 80]),
        (DOLLAR, [50, 80, 100]),
        (DOLLAR * 3, [50, 80, 100]),
    ],
)
def test_each_threshold_is_reached_at_exactly_its_share(
    acme: Customer, spent: int, percents: list[int]
) -> None:
    window(acme, spent)
    assert noted() == percents


@pytest.mark.persistence
def test_a_threshold_is_noted_once_in_its_period_and_again_in_the_next(acme: Customer) -> None:
    first = window(acme, DOLLAR * 6 // 10)
    assert noted() == [50]
    spend(first, DOLLAR * 7 // 10)
    assert noted() == []
    spend(first, DOLLAR * 9 // 10)
    assert noted() == [80]
    later = EPOCH + timedelta(days=1)
    BudgetWindow.objects.create(budget=first.budget, starts_at=later, spent_nano=DOLLAR // 2)
    assert noted() == [50]


@pytest.mark.persistence
@pytest.mark.django_db(transaction=True)
def test_of_processes_that_note_at_the_same_time_one_does_and_tells() -> None:
    customer = rows.customer("acme")
    endpoints.create(customer.tenant, "https://example.com/hook")
    for number in range(10):
        window(customer, DOLLAR, name=f"budget {number}")
    together = threading.Barrier(4)

    def note() -> int:
        try:
            together.wait(GIVE_UP_SECONDS)
            return alerts.note_thresholds(budget_news.enqueue)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        counts = [asked.result() for asked in [pool.submit(note) for _ in range(4)]]
    assert sum(counts) == BudgetAlert.objects.count() == 30
    assert WebhookDelivery.objects.count() == 30


def test_the_alert_says_what_was_spent_when_it_was_noted(acme: Customer) -> None:
    window(acme, 600_000_001)
    noted()
    alert = BudgetAlert.objects.get()
    assert (alert.percent, alert.spent_nano) == (50, 600_000_001)


@pytest.mark.persistence
def test_lowering_the_amount_reaches_thresholds(acme: Customer) -> None:
    of = window(acme, DOLLAR // 10)
    assert noted() == []
    Budget.objects.filter(pk=of.budget_id).update(amount_nano=DOLLAR // 10)
    assert noted() == [50, 80, 100]


def test_a_budget_that_is_off_or_without_thresholds_is_left_alone(acme: Customer) -> None:
    window(acme, DOLLAR, enabled=False)
    window(acme, DOLLAR, thresholds=[])
    assert noted() == []


@pytest.mark.persistence
def test_a_period_long_over_is_not_looked_at_again(acme: Customer) -> None:
    of = window(acme, DOLLAR)
    just_over = clock.now() - alerts.LATE + timedelta(hours=1)
    BudgetWindow.objects.filter(pk=of.pk).update(ends_at=just_over - timedelta(hours=2))
    assert not alerts.is_anything_spent()
    assert noted() == []
    BudgetWindow.objects.filter(pk=of.pk).update(ends_at=just_over)  # usage that comes late
    assert noted() == [50, 80, 100]


@pytest.mark.persistence
def test_what_cannot_be_told_is_not_noted_and_comes_again(acme: Customer) -> None:
    window(acme, DOLLAR // 2)

    def fail(reached: alerts.Reached) -> None:
        raise RuntimeError(reached.subject)

    with pytest.raises(RuntimeError):
        alerts.note_thresholds(fail)
    assert not BudgetAlert.objects.exists()
    assert noted() == [50]


# By e-mail


@pytest.mark.usefixtures("mailing")
def test_those_named_get_one_mail_per_threshold(acme: Customer) -> None:
    window(acme, 512_000_000, alert_emails=["finance@example.com", "lead@example.com"])
    noted()
    assert alerts.is_any_due()
    assert alerts.send_due() == 1
    assert alerts.send_due() == 0
    (sent,) = mail.outbox
    assert sent.to == ["finance@example.com", "lead@example.com"]
    assert sent.subject == "Budget 'Team' has reached 50 %"
    assert "Spent:  $0.512" in sent.body
    assert "Amount: $1.00, once" in sent.body
    assert BudgetAlert.objects.get().sent_at is not None


@pytest.mark.usefixtures("mailing")
def test_the_mail_of_a_keys_budget_names_its_key_and_no_secret(acme: Customer, settings) -> None:
    settings.PUBLIC_URL = "https://gate.example"
    settings.CSRF_TRUSTED_ORIGINS = ["https://console.gate.example", settings.PUBLIC_URL]
    window(acme, DOLLAR, thresholds=[100], api_key=acme.key, alert_emails=["a@example.com"])
    noted()
    alerts.send_due()
    (sent,) = mail.outbox
    assert f"key {acme.key.public_id} of Acme" in sent.body
    assert acme.secret not in sent.body
    assert sent.body.endswith("\nhttps://console.gate.example/console/\n")


@pytest.mark.usefixtures("mailing")
def test_a_line_break_in_a_name_adds_no_header(acme: Customer) -> None:
    window(acme, DOLLAR // 2, name="Team\r\nBcc: x@example.com", alert_emails=["a@example.com"])
    noted()
    assert alerts.send_due() == 1
    assert mail.outbox[0].subject == "Budget 'Team Bcc: x@example.com' has reached 50 %"
    assert mail.outbox[0].recipients() == ["a@example.com"]


def test_without_a_mail_server_the_alert_is_recorded_and_not_called_sent(acme: Customer) -> None:
    window(acme, DOLLAR // 2, alert_emails=["a@example.com"])
    assert noted() == [50]
    assert not alerts.is_any_due()
    assert alerts.send_due() == 0
    assert BudgetAlert.objects.get().sent_at is None
    assert mail.outbox == []


@pytest.mark.usefixtures("mailing")
def test_nobody_is_to_be_told_by_mail_where_no_address_is_given(acme: Customer) -> None:
    window(acme, DOLLAR // 2)
    noted()
    assert not alerts.is_any_due()
    assert BudgetAlert.objects.get().sent_at is not None


@pytest.mark.usefixtures("mailing")
def test_a_mail_server_that_is_away_is_tried_again(
    acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    window(acme, DOLLAR // 2, alert_emails=["a@example.com"])
    noted()
    with monkeypatch.context() as patched:
        patched.setattr(mail, "get_connection", lambda: Refusing("open"))
        assert alerts.send_due() == 0
        patched.setattr(mail, "get_connection", lambda: Refusing("send_messages"))
        assert alerts.send_due() == 0
    assert BudgetAlert.objects.get().sent_at is None
    assert alerts.send_due() == 1


@pytest.mark.usefixtures("mailing")
def test_one_mail_that_cannot_be_sent_keeps_no_other(
    acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = window(acme, DOLLAR // 2, alert_emails=["a@example.com"], name="bad")
    window(acme, DOLLAR // 2, alert_emails=["b@example.com"], name="good")
    noted()
    make = alerts._message

    def message(alert: BudgetAlert, connection: Any) -> Any:
        if alert.window_id == bad.pk:
            raise ValueError("a header is not allowed")
        return make(alert, connection)

    monkeypatch.setattr(alerts, "_message", message)
    assert alerts.send_due() == 1
    assert [sent.to for sent in mail.outbox] == [["b@example.com"]]
    assert BudgetAlert.objects.get(sent_at=None).window == bad


@pytest.mark.usefixtures("mailing")
def test_old_alerts_are_not_sent_when_a_mail_server_comes_at_last(acme: Customer) -> None:
    window(acme, DOLLAR // 2, alert_emails=["a@example.com"])
    noted()
    BudgetAlert.objects.update(reached_at=clock.now() - alerts.SEND_FOR)
    assert not alerts.is_any_due()
    assert alerts.send_due() == 0


class Refusing:
    """A connection to a mail server, one of whose steps fails."""

    def __init__(self, step: str) -> None:
        self._step = step

    def open(self) -> None:
        self._fail_at("open")

    def send_messages(self, messages: list[Any]) -> int:
        self._fail_at("send_messages")
        return len(messages)

    def close(self) -> None:
        pass

    def _fail_at(self, step: str) -> None:
        if step == self._step:
            raise ConnectionRefusedError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://u:p%40ss@mail.example.com", ("mail.example.com", 587, "u", "p@ss", False, True)),
        ("smtps://mail.example.com", ("mail.example.com", 465, "", "", True, False)),
        ("smtp+plain://localhost:2525", ("localhost", 2525, "", "", False, False)),
    ],
)
def test_the_mail_server_is_given_as_a_url(url: str, expected: tuple[Any, ...]) -> None:
    assert tuple(mail_url.parse(Secret(url)).values()) == expected


@pytest.mark.parametrize("url", ["mail.example.com", "smtp://", "smtp://u:hidden@host:port"])
def test_a_url_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(SettingError, match="TOLLGATE_SMTP_URL") as refusal:
        mail_url.parse(Secret(url))
    assert "hidden" not in str(refusal.value)


# By webhook


def test_endpoints_that_want_it_get_an_event_with_the_exact_amounts(acme: Customer) -> None:
    url = "https://example.com/hook"
    wanting, _ = endpoints.create(acme.tenant, url, events=["budget.threshold"])
    endpoints.create(acme.tenant, url, events=["response.completed"])
    of = window(acme, 500_000_001, api_key=acme.key)
    list(budget_news.note_thresholds())
    list(budget_news.note_thresholds())
    delivery = WebhookDelivery.objects.get()
    assert (delivery.endpoint_id, delivery.event_type) == (wanting.pk, "budget.threshold")
    event = json.loads(bytes(delivery.payload))
    assert event["id"] == delivery.event_id
    assert event["data"] == {
        "id": f"budget_{of.budget_id}",
        "name": "Team",
        "api_key": acme.key.public_id,
        "percent": 50,
        "spent_usd": "0.500000001",
        "amount_usd": "1.00",
        "period": "total",
        "starts_at": 0,
        "ends_at": None,
    }


@pytest.mark.persistence
def test_each_threshold_of_each_period_is_an_event_of_its_own(acme: Customer) -> None:
    endpoints.create(acme.tenant, "https://example.com/hook")
    window(acme, DOLLAR)
    window(acme, DOLLAR)
    list(budget_news.note_thresholds())
    assert WebhookDelivery.objects.values("event_id").distinct().count() == 6


def test_openais_sdk_takes_the_event(acme: Customer) -> None:
    _, secret = endpoints.create(acme.tenant, "https://example.com/hook")
    window(acme, DOLLAR // 2)
    list(budget_news.note_thresholds())
    delivery = WebhookDelivery.objects.get()
    body = bytes(delivery.payload)
    with openai.OpenAI(api_key="unused", webhook_secret=secret.reveal()) as client:
        headers = signing.headers(delivery.event_id, body, (secret,))
        event: Any = client.webhooks.unwrap(body.decode(), headers)
    assert (event.type, event.id) == ("budget.threshold", delivery.event_id)
