"""Guardrails by the management API: secrets go in, the bench finds, events are listed."""

from __future__ import annotations

import pytest

from gateway_project.lib.sealing import SealError
from responses_api.enforcement import secrets
from responses_api.models import Guardrail
from tests.api.callers import Api, of_member
from tests.console.world import World


def test_a_guardrail_is_made_changed_and_removed(world: World):
    owner = of_member("owner", world.ours.tenant)
    made = owner.post(
        "guardrails",
        {"name": "judge", "kind": "webhook", "url": "https://g.example/x", "stages": ["output"]},
    )
    assert made.status_code == 201, made.content
    row = Guardrail.objects.get(name="judge")
    secret = secrets.reveal(row)
    assert secret is not None
    assert made.json()["secret"] == secret.reveal()
    shown = owner.get(f"guardrails/{row.pk}").json()
    assert shown["has_secret"]
    assert "secret" not in shown
    changed = owner.patch(f"guardrails/{row.pk}", {"action": "monitor"})
    assert changed.json()["revision"] == row.revision + 1
    wrong = owner.patch(f"guardrails/{row.pk}", {"config": {"dialect": "morse"}, "kind": "pii"})
    assert wrong.status_code == 400
    assert (
        owner.patch(f"guardrails/{world.platform.guardrail.pk}", {"enabled": False}).status_code
        == 403
    )
    assert owner.get(f"guardrails/{world.platform.guardrail.pk}").json()["config"] is None
    assert owner.delete(f"guardrails/{row.pk}").status_code == 204


def test_a_secret_stays_with_the_host_it_was_entered_for(world: World):
    owner = of_member("owner", world.ours.tenant)
    given = {"name": "m", "kind": "moderation", "url": "https://g.example/x", "secret": "sk-1"}
    made = owner.post("guardrails", given).json()
    assert "sk-1" not in str(made)
    row = Guardrail.objects.get(name="m")
    assert secrets.reveal(row) is not None
    moved = {"url": "https://evil.example/x"}
    assert "secret" in owner.patch(f"guardrails/{row.pk}", moved).json()["errors"]
    assert owner.patch(f"guardrails/{row.pk}", {**moved, "secret": "sk-2"}).status_code == 200
    row.refresh_from_db()
    row.url = "https://third.example/x"
    with pytest.raises(SealError, match=r"third\.example"):
        secrets.reveal(row)
    assert secrets.rewrap_all() == 0


def test_the_bench_tells_places_and_what_would_go_on(world: World, operator: Api):
    viewer = of_member("viewer", world.ours.tenant)
    asked = {"text": "an ours word", "guardrail": world.ours.guardrail.pk}
    for piece in (0, 1, 5):
        found = viewer.post("guardrail-tests", {**asked, "piece": piece}).json()
        assert found["outcome"] == "blocked"
        assert [(each["start"], each["end"]) for each in found["spans"]] == [(3, 12)]
    by_key = {"text": "an ours word and a plat word", "key": world.ours.key.public_id, "model": "x"}
    names = {each["guardrail"] for each in viewer.post("guardrail-tests", by_key).json()["spans"]}
    assert names == {"ours-guardrail", "plat-guardrail"}
    for body, status in (
        ({**asked, "guardrail": world.theirs.guardrail.pk}, 404),
        ({"text": "x", "key": world.theirs.key.public_id}, 404),
        ({"text": "x"}, 400),
        ({**asked, "piece": -1}, 400),
        ({**asked, "text": ""}, 400),
        ({**asked, "more": 1}, 400),
    ):
        assert viewer.post("guardrail-tests", body).status_code == status, body


def test_events_and_requests_are_filtered(world: World):
    viewer = of_member("viewer", world.ours.tenant)
    for query, count in (("action=blocked", 1), ("action=masked", 0), ("request_id=req_ours", 1)):
        found = viewer.get(f"guardrail-events?{query}").json()["data"]
        assert len(found) == count, query
    assert viewer.get("requests?guardrail=masked").status_code == 200
    assert viewer.get("requests?guardrail=eaten").status_code == 400
