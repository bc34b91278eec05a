"""Operators and auditors see how the installation is, on a page and over the API; tenants' people do not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from gateway_project.lib import clock
from tenants.ledger import set_aside
from tenants.models import Heartbeat
from tests.api.callers import of_member, of_operator
from tests.console.test_page_costs import MOST_BYTES, MOST_QUERIES, asked
from tests.console.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]


@pytest.fixture(autouse=True)
def _signs_of_life(world: World) -> None:
    now = clock.now()
    Heartbeat.objects.create(role="ingester", host="one.example", beat_at=now)
    Heartbeat.objects.create(role="beat", host="two.example", beat_at=now - timedelta(hours=2))


def test_the_page_names_what_is_broken_first_and_which_processes_live(operator: Client):
    page = operator.get(reverse("admin:system"))
    rows = page.content.decode().partition('id="tg-processes"')[2].split("<tr>")

    assert [("one.example" in row, "alive" in row) for row in rows if ".example" in row] == [
        (False, False),
        (True, True),
    ]
    levels = [finding.level for finding in page.context["report"].findings]
    assert levels == sorted(levels, key=["broken", "hint", "ok"].index)


def test_the_page_asks_no_more_than_others(operator: Client):
    status, queries, size = asked(operator, reverse("admin:system"))
    assert (status, queries <= MOST_QUERIES, size <= MOST_BYTES) == (200, True, True), queries


def test_records_that_were_set_aside_are_told(operator: Client, settings: Settings, tmp_path: Path):
    settings.SPOOL_DIR = tmp_path
    set_aside.keep(settings.SPOOL_DIR, "a", 1, 0, what="x", reason="unreadable")

    report = operator.get(reverse("admin:system")).context["report"]

    assert not report.is_sound
    assert "set aside" in {finding.subject for finding in report.problems}


def test_the_api_tells_the_same(world: World):
    found = of_operator().get("system").json()

    assert {sign["role"]: sign["is_alive"] for sign in found["processes"]} == {
        "ingester": True,
        "beat": False,
    }
    assert found["ledger"]["lag_seconds"] >= 0
    assert found["database_bytes"] > 0


def test_tenants_people_find_neither(world: World, viewer: Client):
    assert viewer.get(reverse("admin:system")).status_code == 403
    assert of_member("owner", world.ours.tenant).get("system").status_code == 403
    assert 'href="/console/system/"' not in viewer.get(reverse("admin:index")).content.decode()
