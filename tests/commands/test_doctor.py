"""doctor."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from gateway_project import migrating, preflight
from gateway_project.lib import clock, keyring
from gateway_project.lib.otlp_endpoint import OtlpEndpoint
from gateway_project.lib.secret import Secret
from responses_api.webhooks import endpoints
from routing import credentials
from routing.models import Alias, Provider, Target
from tenants import heartbeats
from tenants.audit import events
from tenants.heartbeats import Pulse
from tenants.ledger import set_aside
from tenants.ledger.ingest import ingest_all
from tenants.ledger.spool import Spool
from tenants.models import Budget, Heartbeat, KeySecret, Tenant
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.commands.running import answer, failed_answer, text
from tests.support import rows
from tests.support.receiver import Receiver
from tests.tenants.ledger.conftest import log_of, opened, write_call

pytestmark = pytest.mark.django_db


def about(found: dict[str, Any], subject: str) -> list[tuple[str, str]]:
    return [(f["level"], f["message"]) for f in found["findings"] if f["subject"] == subject]


@pytest.fixture(autouse=True)
def _safe_settings(settings: Settings) -> None:
    settings.DEBUG = False
    settings.REDIS_URL = None
    settings.ALLOWED_HOSTS = ["gate.example"]


@pytest.mark.persistence
def test_a_fresh_gateway_is_sound() -> None:
    answer("quickstart")
    found = answer("doctor")
    assert found["ok"] is True
    assert about(found, "migrations") == [("ok", "all applied")]
    assert about(found, "aliases") == [("ok", "3 enabled")]
    assert about(found, "quickstart.json")[0][0] == "ok"
    assert [f["level"] for f in found["findings"] if f["level"] == "broken"] == []


def test_hints_are_no_failure(settings: Settings) -> None:
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["*"]
    Tenant.objects.create(slug="acme", name="Acme")
    Alias.objects.create(name="nowhere")
    Provider.objects.create(name="poor", protocol="chat", base_url="https://up.example/v1")
    found = answer("doctor")
    for subject in (
        "debug",
        "allowed hosts",
        "redis",
        "tenant acme",
        "alias nowhere",
        "provider poor",
    ):
        assert about(found, subject)[0][0] == "hint", subject


@pytest.mark.persistence
def test_what_lets_tenants_past_the_platforms_aliases_and_prices_is_pointed_out() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    up = rows.provider("chat", "http://10.0.0.5/v1", name="up", secret="sk-ours")
    rows.alias("old", (up, "m-1"), tenant=tenant)
    Target.objects.update(is_legacy=True)
    shared = rows.alias("shared", (up, "m-1"), enabled=False)
    Alias.objects.create(name="mine", tenant=tenant, platform_alias=shared)
    credentials.create(up, Secret("sk-theirs"), tenant=tenant)
    for name in ("old", "shared", "*", "up/m-1"):
        lines = [Line("input_fresh", 1), Line("output_visible", 1)]
        publishing.set_price(Subject.charge(name, tenant), lines, "test", clock.now())
    found = answer("doctor")
    assert found["ok"] is True
    ((_, old),) = about(found, "alias old")
    assert "of tenant acme leads to the platform's up/m-1 without one of its aliases" in old
    ((_, mine),) = about(found, "alias mine")
    assert "links to shared, which is disabled" in mine
    ((_, provider),) = about(found, "provider up")
    assert "tenant Acme has its own credential" in provider
    priced = [each["subject"] for each in found["findings"] if each["subject"].startswith("price")]
    assert priced == ["price of old"]


def test_a_key_file_others_can_read_is_broken(data_dir: Path) -> None:
    answer("quickstart")
    (data_dir / "quickstart.json").chmod(0o644)
    [(level, message)] = about(failed_answer("doctor"), "quickstart.json")
    assert level == "broken"
    assert "other users can read it (mode 0644); run chmod 600" in message


def test_a_data_directory_others_can_enter_is_a_hint(data_dir: Path) -> None:
    data_dir.chmod(0o755)
    [(level, message)] = about(answer("doctor"), "data directory")
    assert level == "hint"
    assert "other users can list it (mode 0755); run chmod 700" in message


@pytest.mark.persistence
def test_a_credential_whose_key_is_gone_is_broken(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-test-groq-0001")
    answer("quickstart")
    assert about(answer("doctor"), "credentials") == [("ok", "1 can be opened with the key 'k1'")]
    (data_dir / "key_encryption_keys").write_text(keyring.new_entry("other"))
    [(level, message)] = about(failed_answer("doctor"), "credential of groq")
    assert level == "broken"
    assert "has no key 'k1'" in message


def test_a_webhook_whose_key_is_gone_is_broken(data_dir: Path) -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    endpoint, _ = endpoints.create(tenant, "https://hooks.example/in?token=hidden")
    subject = f"webhook endpoint {endpoint.pk}"
    assert about(answer("doctor"), subject) == []
    (data_dir / "key_encryption_keys").write_text(keyring.new_entry("other"))
    found = failed_answer("doctor")
    [(level, message)] = about(found, subject)
    assert level == "broken"
    assert "has no key 'k1'" in message
    assert "hidden" not in str(found)


def test_celery_is_pointed_out(settings: Settings) -> None:
    assert about(answer("doctor"), "tasks")[0][0] == "ok"
    settings.TASKS = "celery"
    [(level, message)] = about(answer("doctor"), "tasks")
    assert level == "ok"  # processes that are missing are named one by one
    assert "background_worker" in message


@pytest.mark.persistence
def test_processes_without_a_sign_of_life_are_told(settings: Settings) -> None:
    settings.TASKS = "celery"
    sentences = [message for _, message in about(answer("doctor"), "processes")]
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "No background worker serves the queue 'tollgate'",
        "No background worker serves the queue 'tollgate.background'",
        "Nothing sends the periodic tasks",
    ]
    Pulse(*map(heartbeats.worker_of, ("tollgate", "tollgate.background")), heartbeats.BEAT).beat()
    ((_, sentence),) = about(answer("doctor"), "processes")
    assert sentence.startswith(
        f"No ingester has shown a sign of life on {heartbeats.host_name()!r}"
    )
    Pulse(heartbeats.INGESTER).beat()
    assert about(answer("doctor"), "processes") == []
    Heartbeat.objects.filter(role=heartbeats.BEAT).update(
        beat_at=clock.now() - timedelta(minutes=2)
    )
    Pulse("new").beat()
    assert about(answer("doctor"), "processes") == [
        ("hint", "Nothing sends the periodic tasks: run manage.py beat.")
    ]


def test_who_cannot_get_into_the_console_or_be_told_is_pointed_out(settings: Settings) -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    budget = {"tenant": tenant, "name": "b", "amount_nano": 1}
    Budget.objects.create(**budget, alert_emails=["finance@example.com"])
    settings.CSRF_TRUSTED_ORIGINS = ["https://other.example:8443", "https://gate.example"]
    found = failed_answer("doctor")
    assert "create_operator" in about(found, "console")[0][1]
    assert "TOLLGATE_SMTP_URL is not set" in about(found, "mail")[0][1]
    ((level, message), _) = about(found, "allowed hosts")[-2:]
    assert (level, "list it in TOLLGATE_ALLOWED_HOSTS" in message) == ("ok", False)
    assert "requests to other.example:8443 are refused" in about(found, "allowed hosts")[1][1]
    assert about(found, "public url") == []
    settings.SECURE_COOKIES = True  # so that a proxy ends TLS
    assert "TOLLGATE_PUBLIC_URL is not set" in about(failed_answer("doctor"), "public url")[0][1]
    settings.PUBLIC_URL = "https://gate.example"
    assert about(failed_answer("doctor"), "public url") == [("ok", "https://gate.example")]
    settings.CSRF_TRUSTED_ORIGINS = []
    settings.ALLOWED_HOSTS = ["localhost"]
    settings.UNKNOWN_VARIABLES = ["TOLLGATE_X is not a setting and changes nothing."]
    found = answer("doctor")
    assert "only to this machine's own names" in about(found, "allowed hosts")[-1][1]
    assert about(found, "settings") == [("hint", settings.UNKNOWN_VARIABLES[0])]


@pytest.mark.persistence
def test_other_key_files_than_the_databases_are_broken(data_dir: Path) -> None:
    answer("quickstart")
    preflight.refuse_unfit()
    for name, subject in (
        ("key_peppers", "API keys"),
        ("key_encryption_keys", "stored credentials"),
    ):
        kept = (data_dir / name).read_text()
        (data_dir / name).write_text(keyring.new_entry("k1"))
        assert f"cannot read the {subject}" in about(failed_answer("doctor"), "key files")[0][1]
        (data_dir / name).write_text(kept)
    (data_dir / "key_peppers").write_text(
        keyring.new_entry("k0") + " " + (data_dir / "key_peppers").read_text()
    )
    KeySecret.objects.update(pepper_id="k9")
    assert (
        "a pepper this host does not have ('k9')"
        in about(failed_answer("doctor"), "key peppers")[-1][1]
    )


def test_redis_that_does_not_answer_is_broken_and_its_address_not_told(
    settings: Settings,
) -> None:
    settings.REDIS_URL = Secret("redis://:hidden-password@127.0.0.1:9/0")
    found = failed_answer("doctor")
    assert about(found, "redis") == [
        ("broken", "REDIS_URL is set, but cannot be used: ConnectionError")
    ]
    assert "hidden-password" not in str(found)


@pytest.mark.redis
def test_redis_that_answers_is_fine(settings: Settings, redis_url: str) -> None:
    settings.REDIS_URL = Secret(redis_url)
    assert about(answer("doctor"), "redis") == [("ok", "answers")]


@pytest.fixture
def redis_url() -> str:
    import os  # noqa: PLC0415 - only for this test

    return os.environ["REDIS_URL"]


def test_an_old_version_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "4.2.1")
    [(level, message)] = about(failed_answer("doctor"), "daphne")
    assert level == "broken"
    assert "4.2.1 is too old; 4.2.2 or newer is needed" in message


@pytest.mark.persistence
def test_pending_migrations_are_broken_and_stop_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "pending", lambda: ["tenants.0001_initial"])
    found = failed_answer("doctor")
    assert about(found, "migrations")[0][0] == "broken"
    assert about(found, "configuration")[0][0] == "hint"
    assert about(found, "tenants") == []


def test_a_person_reads_one_line_a_finding() -> None:
    lines = text("doctor").strip().splitlines()
    assert any(line.startswith("ok      database: ") for line in lines)


@pytest.mark.persistence
def test_usage_that_does_not_get_into_the_ledger_is_told(
    settings: Settings, tmp_path: Path
) -> None:
    settings.SPOOL_DIR = tmp_path / "spool"
    assert about(answer("doctor"), "spools") == [("ok", "none on this host yet")]
    spool = Spool(settings.SPOOL_DIR)
    write_call(spool)
    assert "1 of 1 have not been read for a minute" in about(answer("doctor"), "spools")[0][1]
    ingest_all(settings.SPOOL_DIR)
    assert about(answer("doctor"), "spools") == [("ok", "1 on this host, all being read")]
    with log_of(spool, settings.SPOOL_DIR).open("ab") as file:
        file.write(b"\x05\x00\x00\x00rubbish and more of it")
    write_call(spool)
    spool.append(opened())
    spool.close()
    ingest_all(settings.SPOOL_DIR)
    assert "the first is" in about(answer("doctor"), "damaged spools")[0][1]


@pytest.mark.persistence
def test_what_was_set_aside_makes_doctor_fail_until_somebody_looked(
    settings: Settings, tmp_path: Path
) -> None:
    settings.SPOOL_DIR = tmp_path
    for offset in (0, 50):
        set_aside.keep(tmp_path, "host.1", 1, offset, what={"id": "x"}, reason="too large")
    found = failed_answer("doctor")
    ((level, message),) = about(found, "set aside")
    assert level == "broken"
    assert message.startswith(f"2 records could not be booked and are in {tmp_path}")


def test_a_disk_that_is_too_full_to_take_calls_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.SPOOL_DIR = tmp_path
    settings.SPOOL_LEAST_FREE_PERCENT = 101
    assert "calls are refused with 503" in about(failed_answer("doctor"), "spools")[0][1]


def test_a_collector_that_takes_no_traces_is_pointed_out(settings: Settings) -> None:
    with Receiver((200, 401)) as receiver:
        settings.OTLP_ENDPOINT = OtlpEndpoint(receiver.url_of(""), {"x-key": Secret("canary")})
        for level, problem in (("ok", ""), ("hint", "status 401")):
            ((found, message),) = about(answer("doctor"), "traces")
            assert found == level
            assert problem in message
            assert "canary" not in message
        assert [each.body for each in receiver.received] == [b'{"resourceSpans":[]}'] * 2
    settings.OTLP_ENDPOINT = OtlpEndpoint("http://127.0.0.1:4317", {})
    refused, port = about(answer("doctor"), "traces")
    assert "ConnectionRefusedError" in refused[1]
    assert "4318" in port[1]


def test_a_backup_that_is_old_or_was_never_made_is_hinted_at(settings: Settings) -> None:
    assert about(answer("doctor"), "backup")[0][0] == "hint"

    def made(taken_at: datetime, database: bool) -> None:
        with transaction.atomic():
            details = {"taken_at": taken_at.isoformat(), "database": database}
            events.record("backup.made", details=details)

    made(clock.now() - timedelta(hours=27), True)
    made(clock.now(), False)  # of a host's spools alone
    ((level, message),) = about(answer("doctor"), "backup")
    assert level == "hint"
    assert "older than TOLLGATE_BACKUP_MAX_AGE" in message
    settings.BACKUP_MAX_AGE = timedelta(hours=28)
    assert about(answer("doctor"), "backup")[0][0] == "ok"
