"""The pages on guardrails: a form for each kind, their events, and the bench."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from responses_api.enforcement import secrets
from responses_api.models import Guardrail, GuardrailEvent
from tests.console import world as worlds
from tests.console.pages import text, url
from tests.console.world import CANARY, World

pytestmark = pytest.mark.django_db

HOW = {"action": "block", "stages": ["input"], "enabled": "on"}
OUTSIDE = {"url": "https://guard.example/x", "on_failure": "closed", "timeout_ms": "2000"}
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "terms": (
        {"config_terms": "one\ntwo words", "config_label": "X"},
        {"terms": ["one", "two words"], "label": "X"},
    ),
    "pattern": (
        {"config_patterns": "customer: C-[0-9]{6}"},
        {"patterns": [{"name": "customer", "pattern": "C-[0-9]{6}"}]},
    ),
    "pii": (
        {"config_entities": ["email"], "config_opaque": "refuse"},
        {"entities": ["email"], "opaque": "refuse"},
    ),
    "secrets": ({}, {}),
    "tools": ({"config_denied_functions": "rm"}, {"denied_functions": ["rm"]}),
    "input_limits": ({"config_max_files": "0"}, {"max_files": 0}),
    "moderation": (
        {**OUTSIDE, "config_thresholds": "violence: 0.4", "secret": "sk-mod"},
        {"thresholds": {"violence": 0.4}},
    ),
    "webhook": (OUTSIDE, {}),
}  # fmt: skip


def add(client: Client, kind: str, **fields: Any) -> Any:
    return client.post(f"{url(Guardrail, 'add')}?kind={kind}", {**HOW, **fields})


def test_there_is_a_form_for_each_kind(world: World):
    admin = worlds.staff("admin", world.ours.tenant)
    chooser = text(admin.get(url(Guardrail, "add")))
    for kind, (given, config) in FORMS.items():
        assert f"kind={kind}" in chooser
        page = admin.get(f"{url(Guardrail, 'add')}?kind={kind}")
        assert page.status_code == 200
        answer = add(admin, kind, name=f"{kind}-new".replace("_", "-"), **given)
        rows = Guardrail.objects.filter(kind=kind, tenant=world.ours.tenant).exclude(
            pk=world.ours.guardrail.pk
        )
        assert rows.exists(), (kind, re.findall(r"errorlist.*?</ul>", text(answer), re.DOTALL))
        row = rows.get()
        assert row.config == config
        shown = admin.get(url(row, "change"))
        assert shown.status_code == 200
        if kind == "webhook":
            made = re.findall(r"whsec_[0-9A-Za-z+/=]+", text(answer))
            secret = secrets.reveal(row)
            assert secret is not None
            assert made == [secret.reveal()]
            assert "no-store" in answer["Cache-Control"]
        assert "whsec_" not in text(shown)
        assert "sk-mod" not in text(shown)


def test_a_wrong_value_is_told_at_its_field(world: World):
    admin = worlds.staff("admin", world.ours.tenant)
    for kind, fields in (
        ("pattern", {"config_patterns": "a: (b"}),
        ("terms", {"config_terms": ""}),
        ("moderation", {**OUTSIDE, "config_thresholds": "violence"}),
        ("webhook", {**OUTSIDE, "url": "http://guard.example"}),
        ("tools", {"config_denied_functions": "rm", "action": "mask"}),
    ):
        answer = add(admin, kind, name="new", **fields)
        assert answer.status_code == 200
        assert "errorlist" in text(answer), kind
    assert not Guardrail.objects.filter(name="new").exists()


def test_people_of_a_tenant_see_the_platforms_and_not_what_it_looks_for(world: World):
    viewer = worlds.staff("admin", world.ours.tenant)
    page = text(viewer.get(url(world.platform.guardrail, "change")))
    assert "plat-guardrail" in page
    assert "plat word" not in page
    assert 'name="_save"' not in page
    assert viewer.get(url(world.theirs.guardrail, "change")).status_code == 404
    assert viewer.get(url(world.theirs.finding, "change")).status_code == 404
    listed = text(viewer.get(url(GuardrailEvent, "changelist")))
    assert "ours-guardrail" in listed
    assert CANARY not in listed


def test_the_bench_shows_what_would_happen_and_stores_nothing(world: World):
    viewer = worlds.staff("viewer", world.ours.tenant)
    bench = reverse("admin:guardrail_bench")
    assert viewer.get(bench).status_code == 200
    before = GuardrailEvent.objects.count()
    given = {"guardrail": world.ours.guardrail.pk, "text": "say ours word now", "stage": "input"}
    for piece in ("0", "1", "7"):
        page = text(viewer.post(bench, {**given, "piece": piece}))
        assert "<mark" in page
        assert "blocked" in page
    theirs = {**given, "guardrail": world.theirs.guardrail.pk, "piece": "0"}
    assert "<mark" not in text(viewer.post(bench, theirs))
    wrong = text(viewer.post(bench, {**given, "piece": "-1"}))
    assert "whole number" in wrong
    assert GuardrailEvent.objects.count() == before
