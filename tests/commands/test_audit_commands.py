"""audit_verify and export_audit."""

from __future__ import annotations

import json

import pytest

from tenants import triggers
from tenants.audit import chain
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
