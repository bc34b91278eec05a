"""audit_verify and export_audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tenants import triggers
from tenants.audit import chain, checkpoints, events
from tenants.models import AuditEvent, Tenant
from tests.commands.running import answer, failed_answer, refusal, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    text("create_tenant", "acme")
    text("create_key", "--tenant", "acme", "--name", "first")
    chain.join_pending()
    return Tenant.objects.get()


def test_a_whole_log_is_told_chain_by_chain(tenant: Tenant):
    found = answer("audit_verify")

    assert found["ok"] is True
    assert [each["chain"] for each in found["chains"]] == [tenant.pk]
    assert found["chains"][0]["last_sequence"] == AuditEvent.objects.count()
    assert answer("audit_verify", "--tenant", "acme") == found
    assert text("audit_verify").startswith("acme: ")
    assert "There is no tenant" in refusal("audit_verify", "--tenant", "nobody")


def test_a_damaged_log_ends_with_exit_code_1_and_the_first_bad_number(tenant: Tenant):
    triggers.remove()
    AuditEvent.objects.filter(sequence=2).update(actor_name="somebody else")
    triggers.install()

    found = failed_answer("audit_verify")

    assert found["ok"] is False
    assert found["chains"][0]["bad_sequence"] == 2


def test_hashes_that_are_kept_elsewhere_are_compared(tenant: Tenant, tmp_path: Path, caplog: Any):
    events.record("usage.exported")  # the platform's
    chain.join_pending()
    with caplog.at_level("INFO", "tollgate.audit"):
        list(checkpoints.sign_all())
    said = [
        {"chain": each.chain, "sequence": each.sequence, "hash": each.hash}
        for each in caplog.records
    ]
    kept = tmp_path / "kept.jsonl"
    kept.write_text("\n".join(["Tollgate starts.", "[1]", '{"hash": "a"}', *map(json.dumps, said)]))

    found = answer("audit_verify", "--known", str(kept))
    assert [each["compared"] for each in found["chains"]] == [1, 1]
    heads = [(each["chain"], each["last_sequence"], each["last_hash"]) for each in found["chains"]]
    assert heads == [tuple(each.values()) for each in said]
    assert f"1 as they are known; the last one's hash is {heads[1][2]}." in text(
        "audit_verify", "--known", str(kept)
    )

    kept.write_text(json.dumps({"chain": 987, "sequence": 4, "hash": "a" * 64}))
    gone = {
        each["chain"]: (each["bad_sequence"], each["problem"])
        for each in failed_answer("audit_verify", "--known", str(kept))["chains"]
    }
    assert gone[987] == (1, "it was removed: event 4 is known")
    kept.write_text('{"sequence": "4", "hash": "a"}')
    assert "No line" in refusal("audit_verify", "--known", str(kept))
    assert "cannot be read" in refusal("audit_verify", "--known", str(tmp_path / "none"))


def test_an_export_prints_a_line_an_event_and_is_recorded(tenant: Tenant):
    lines = [json.loads(line) for line in text("export_audit", "--tenant", "acme").splitlines()]

    assert [line["action"] for line in lines][:2] == ["tenant.created", "api_key.created"]
    assert {line["actor"]["name"] for line in lines} == {
        *("manage.py create_tenant", "manage.py create_key")
    }
    assert text("export_audit", "--to", "2020-01-01") == ""
    assert "from" in refusal("export_audit", "--from", "yesterday-ish")
    exports = AuditEvent.objects.filter(action="audit.exported").order_by("id")
    assert list(exports.values_list("tenant", "actor_id")) == [
        (tenant.pk, "export_audit"),
        (None, "export_audit"),
    ]
