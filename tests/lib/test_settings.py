"""Settings: what cannot be used stops the start with one sentence that names our variable."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from gateway_project.lib import env, hosts
from gateway_project.lib.env import Env, SettingError
from gateway_project.lib.hosts import AllowedHosts
from tests.commands.running import process
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled
from tests.support.warm import ROOT

FILE = str(ROOT / "manage.py")
REFUSED = [
    ("TOLLGATE_TRUSTED_PROXIES", "10.0.0.5/8", "write 10.0.0.0/8 or the single address 10.0.0.5"),
    ("TOLLGATE_TRUSTED_PROXIES", "10.0.0.0/8, proxy.internal", "'proxy.internal' is not a network"),
    ("TOLLGATE_TRUSTED_PROXIES", "10.0.0.0/33", "not a network"),
    ("TOLLGATE_PUBLIC_URL", "https://gate.example/v1", "write its origin alone, https://gate.example."),
    ("TOLLGATE_PUBLIC_URL", "https://*.gate.example", "expected one origin"),
    ("TOLLGATE_PUBLIC_URL", "https://a.example,https://b.example", "expected one origin"),
    ("TOLLGATE_TRUSTED_ORIGINS", "gateway.example.com", "write it like https://gateway.example.com"),
    ("TOLLGATE_TRUSTED_ORIGINS", "https://gate.example/console", "https://gate.example."),
    ("TOLLGATE_TRUSTED_ORIGINS", "https://gate.example:http", "not an origin"),
    ("TOLLGATE_ALLOWED_HOSTS", "https://gate.example/v1", "such as 'gate.example'"),
    ("TOLLGATE_ALLOWED_HOSTS", "gate.example:8000", "such as 'gate.example'"),
    ("TOLLGATE_ALLOWED_HOSTS", "2001:db8::1", "[2001:db8::1]"),
    ("TOLLGATE_DATA_DIR", "/proc/nowhere/data", "cannot use '/proc/nowhere/data'"),
    ("TOLLGATE_DATA_DIR", FILE, "File exists"),
    ("TOLLGATE_SPOOL_DIR", f"{FILE}/spool", "is not a directory"),
    ("TOLLGATE_SANDBOX_PORT", "65536", "at most 65535"),
    ("TOLLGATE_WORKERS", "0", "at least 1"),
    ("TOLLGATE_SEND_STALL_SECONDS", "3000000", "at most 2000000"),
    ("TOLLGATE_MAIL_FROM", "nobody", "expected an address"),
    ("TOLLGATE_KEY_PEPPERS", "k1:short", "not base64"),
    ("TOLLGATE_KEY_ENCRYPTION_KEYS", "k1:c2hvcnQ=", "5 bytes, not 32"),
    ("TOLLGATE_SECRET_KEY_FILE", "/nowhere", "cannot read '/nowhere'"),
    ("TOLLGATE_SMTP_URL", "smtp://mail.example:no", "port that is not a number"),
    ("DATABASE_URL", "postgres://user:hidden@db:port/gate", "port that is not a number"),
    ("DATABASE_URL", "mysql://user:hidden@db/gate", "must begin with postgres:// or sqlite:///"),
    ("DATABASE_URL", "sqlite:///nowhere/gate.sqlite3", "no directory '/nowhere'"),
    ("REDIS_URL", "127.0.0.1:6379", "must look like redis://host:6379/0"),
    ("REDIS_URL", "redis://:hidden@cache:6379/first", "port and database must be numbers"),
]  # fmt: skip


def read(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> dict[str, Any]:
    """The settings as a process with these variables reads them."""
    monkeypatch.setattr(env, "environment", Env(variables))
    return runpy.run_path(str(ROOT / "gateway_project" / "settings.py"))


def test_what_cannot_be_used_is_refused_in_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value, hint in REFUSED:
        with pytest.raises(SettingError) as refusal:
            read(monkeypatch, {"TOLLGATE_DATA_DIR": str(tmp_path), name: value})
        sentence = str(refusal.value)
        assert sentence.startswith(name), (name, value, sentence)
        assert hint in sentence, (name, value, sentence)
        assert "\n" not in sentence
        assert "hidden" not in sentence, sentence


def test_an_empty_secret_key_file_is_refused_by_our_name_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret_key").touch()
    with pytest.raises(SettingError, match=r"TOLLGATE_SECRET_KEY is not set, and .* is empty"):
        read(monkeypatch, {"TOLLGATE_DATA_DIR": str(tmp_path)})


def test_what_the_public_url_implies_can_be_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    public = {
        "TOLLGATE_DATA_DIR": str(tmp_path),
        "TOLLGATE_PUBLIC_URL": "https://gate.example:8443",
    }
    found = read(monkeypatch, public)
    assert found["ALLOWED_HOSTS"][-1] == "gate.example"
    assert found["CSRF_TRUSTED_ORIGINS"] == found["API_ORIGIN"] == ["https://gate.example:8443"]
    assert found["SECURE_COOKIES"] is True
    told = {
        "TOLLGATE_SECURE_COOKIES": "false",
        "TOLLGATE_API_ORIGIN": "https://api.example",
        "TOLLGATE_CONSOLE_HOSTS": "console.example,.other.example",
        "TOLLGATE_TRUSTED_ORIGINS": "https://first.example",
    }
    found = read(monkeypatch, {**public, **told})
    assert found["API_ORIGIN"] == ["https://api.example"]
    assert found["SECURE_COOKIES"] is False
    assert found["CSRF_TRUSTED_ORIGINS"] == [
        "https://first.example",
        "https://console.example:8443",
        "https://gate.example:8443",
    ]
    plain = {**public, "TOLLGATE_PUBLIC_URL": "http://[::1]:8000"}
    found = read(monkeypatch, plain)
    assert (found["SECURE_COOKIES"], found["ALLOWED_HOSTS"][-1]) == (False, "[::1]")


def test_what_can_be_used_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = read(
        monkeypatch,
        {
            "TOLLGATE_DATA_DIR": str(tmp_path / "new" / "data"),
            "TOLLGATE_SPOOL_DIR": str(tmp_path / "later" / "spool"),
            "TOLLGATE_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7,2001:db8::/32",
            "TOLLGATE_TRUSTED_ORIGINS": "https://gate.example:8443,https://*.gate.example,http://[::1]",
            "TOLLGATE_ALLOWED_HOSTS": "gate.example,.sub.example,10.0.0.1,[2001:db8::1],api-1",
            "TOLLGATE_MAIL_FROM": "Tollgate <gate@mail.example>",
            "DATABASE_URL": "postgres://user:p%40ss@db:5432/gate?sslmode=require",
            "REDIS_URL": "rediss://:secret@cache:6379/3",
        },
    )
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "later").exists()
    assert found["TRUSTED_PROXIES"].trusts("10.1.2.3")
    assert found["DATABASES"]["default"]["PORT"] == "5432"
    assert found["UNKNOWN_VARIABLES"] == []


def test_unknown_variables_of_ours_are_told_with_what_may_have_been_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = {
        "TOLLGATE_DATA_DIR": str(tmp_path),
        "TOLLGATE_ALOWED_HOSTS": "gate.example",
        "TOLLGATE_WORKERS_FILE": "/run/workers",
        "TOLLGATE_NONSENSE": "1",
        "TOLLGATE_API_KEY": "of a client",
        "TOLLGATE_EMPTY": "",
        "TOLLGATE_SERVICE_HOST": "10.0.0.1",  # of Kubernetes
        "TOLLGATE_SERVICE_PORT_HTTP": "8000",
        "TOLLGATE_PORT": "tcp://10.0.0.1:8000",
        "TOLLGATE_API_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert read(monkeypatch, variables)["UNKNOWN_VARIABLES"] == [
        "TOLLGATE_ALOWED_HOSTS is not a setting and changes nothing; did you mean TOLLGATE_ALLOWED_HOSTS?",
        "TOLLGATE_NONSENSE is not a setting and changes nothing.",
        "TOLLGATE_WORKERS_FILE is not a setting; only secrets come from files: set TOLLGATE_WORKERS.",
    ]


def test_every_process_stops_with_that_sentence_and_warns_of_what_it_does_not_know(
    tmp_path: Path,
) -> None:
    for command in sampled(("serve", "doctor", "background_worker"), default=1, ci=1):
        ended = process(tmp_path, command, TOLLGATE_TRUSTED_PROXIES="10.0.0.5/8")
        assert ended.returncode == 1
        assert ended.stderr.startswith(
            "SettingError: TOLLGATE_TRUSTED_PROXIES: '10.0.0.5/8' is not"
        )
        assert ended.stderr.count("\n") == 1
    ended = process(tmp_path, "beat", TOLLGATE_ALOWED_HOSTS="gate.example")
    assert "did you mean TOLLGATE_ALLOWED_HOSTS?" in ended.stderr


@cases(
    ("allowed", "good", "bad"),
    [
        (
            ["gate.example", "[::1]", "127.0.0.1"],
            [b"gate.example", b"GATE.example:8000", b"gate.example.", b"[::1]:8000", b"127.0.0.1"],
            [b"", b"evil.example", b"a.gate.example", b"gate.example:x", b"::1", b"gate.example/",
             b"gate.example@evil.example", b"gate.example evil", b"\xff", b"x" * 100_000, b"[::1"],
        ),
        ([".gate.example"], [b"gate.example", b"a.b.gate.example"], [b"evilgate.example", b".gate.example"]),
        (["*"], [b"anything.example:1", b"[2001:db8::1]"], [b"", b"a b", b"<x>", b"a,b"]),
    ],
)  # fmt: skip
def test_a_host_is_allowed_by_the_rules_of_django(
    allowed: list[str], good: list[bytes], bad: list[bytes]
) -> None:
    names = AllowedHosts(hosts.host_name(name) for name in allowed)
    for _ in range(2):  # the second time from memory
        assert [value for value in good if not names.allows(value)] == []
        assert [value for value in bad if names.allows(value)] == []
