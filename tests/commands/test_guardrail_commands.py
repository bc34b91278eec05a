"""add_guardrail, list_guardrails, set_guardrail, remove_guardrail, test_guardrail, list_guardrail_events."""

from __future__ import annotations

from pathlib import Path

import pytest

from responses_api.models import Guardrail
from tenants.models import AuditEvent
from tests.commands.running import answer, refusal, text
from tests.support import rows

pytestmark = pytest.mark.django_db


def test_a_guardrail_lives_by_commands(tmp_path: Path):
    acme = rows.customer()
    config = '{"terms": ["apollo"]}'
    made = answer(
        "add_guardrail", "names", "--tenant", "acme", "--kind", "terms", "--config", config
    )
    assert (made["tenant"], made["action"], made["stages"]) == ("acme", "block", ["input"])
    assert "names" in text("list_guardrails", "--tenant", "acme")
    assert answer("list_guardrails")["guardrails"] == []
    said = tmp_path / "said"
    said.write_text("Project Apollo.")
    tried = answer(
        "test_guardrail", "names", "--tenant", "acme", "--file", str(said), "--piece", "2"
    )
    assert tried["outcome"] == "blocked"
    assert [(each["start"], each["end"]) for each in tried["spans"]] == [(8, 14)]
    by_key = answer(
        "test_guardrail", "--key", acme.key.public_id, "--model", "x", "--file", str(said)
    )
    assert by_key["outcome"] == "blocked"
    changed = answer("set_guardrail", "names", "--tenant", "acme", "--action", "mask")
    assert changed["revision"] == 2
    assert "[REDACTED]" in text("test_guardrail", "names", "--tenant", "acme", "--file", str(said))
    assert answer("list_guardrail_events") == {"events": []}
    answer("remove_guardrail", "names", "--tenant", "acme")
    assert not Guardrail.objects.exists()
    actions = AuditEvent.objects.filter(object_type="guardrail").values_list("action", flat=True)
    assert {"guardrail.created", "guardrail.changed", "guardrail.deleted"} <= set(actions)


def test_wrong_input_is_named(monkeypatch: pytest.MonkeyPatch):
    assert "config" in refusal("add_guardrail", "x", "--kind", "terms", "--config", "{")
    assert "config" in refusal("add_guardrail", "x", "--kind", "terms")
    assert "name" in refusal("remove_guardrail", "x")
    monkeypatch.setenv("GUARD_KEY", "sk-guard")
    common = ("--kind", "moderation", "--url", "https://m.example/v1/moderations")
    assert "sk-guard" not in text("add_guardrail", "mod", *common, "--secret-env", "GUARD_KEY")
    made = answer("add_guardrail", "hook", "--kind", "webhook", "--url", "https://h.example")
    assert made["secret"].startswith("whsec_")
