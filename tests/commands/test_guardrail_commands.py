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
    assert answer("list_guardrails")["data"] == []
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
    assert answer("list_guardrail_events") == {"data": [], "next_cursor": None}
    answer("remove_guardrail", "names", "--tenant", "acme", "--yes")
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


def test_a_file_makes_guardrails_and_an_export_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TOLLGATE_CREDENTIAL_MOD", "sk-mod")
    rows.customer()
    file = tmp_path / "tollgate.yaml"
    file.write_text(
        "platform:\n"
        "  guardrails:\n"
        "  - name: no-secrets\n"
        "    kind: secrets\n"
        "    action: block\n"
        "    stages: [input, output]\n"
        "  - name: mod\n"
        "    kind: moderation\n"
        "    action: monitor\n"
        "    stages: [input]\n"
        "    url: https://m.example/v1/moderations\n"
        "    secret: {env: TOLLGATE_CREDENTIAL_MOD}\n"
        "tenants:\n"
        "- slug: acme\n"
        "  guardrails:\n"
        "  - name: names\n"
        "    kind: terms\n"
        "    action: mask\n"
        "    stages: [input]\n"
        "    config: {terms: [apollo]}\n"
    )
    text("apply", str(file))
    assert set(Guardrail.objects.values_list("name", "tenant__slug")) == {
        ("no-secrets", None),
        ("mod", None),
        ("names", "acme"),
    }
    exported = text("export_config")
    assert "no-secrets" in exported
    assert "sk-mod" not in exported
    assert "guardrail_mod" in exported.lower()
    before = dict(Guardrail.objects.values_list("name", "revision"))
    text("apply", str(file))  # nothing differs
    assert dict(Guardrail.objects.values_list("name", "revision")) == before
