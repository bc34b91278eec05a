"""A backup that is not what was backed up is refused, before anything is changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gateway_project.backup import checking, files, folder, keys_file, spools
from gateway_project.backup.checking import CheckWishes
from gateway_project.backup.contents import SpoolPlace
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.progress import ProgressTeller
from gateway_project.lib.secret import Secret
from tests.backup.conftest import PASSPHRASE, Made, refusal


def check(made: Made, passphrase: str | None = PASSPHRASE) -> checking.CheckedBackup:
    wishes = CheckWishes(passphrase=None if passphrase is None else Secret(passphrase))
    return checking.check(made.backup, wishes, ProgressTeller(print))


def complaint(made: Made, passphrase: str | None = PASSPHRASE) -> str:
    with pytest.raises(BackupFailed) as failed:
        check(made, passphrase)
    return str(failed.value)


def test_one_that_is_whole_is_proved(made: Made) -> None:
    checked = check(made)
    assert (checked.credentials_opened, checked.is_authenticated) == (1, True)
    assert checked.contents is not None
    (month,) = checked.contents.months
    assert (month.rows, month.charge_nano, month.cost_nano, month.tokens) == (2, 16, 16, 16)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rewrite(made: Made, name: str) -> None:
    """Give the manifest the checksum of a file that was changed."""
    place = made.backup / "manifest.json"
    manifest = json.loads(place.read_text())
    facts = files.facts_of(made.backup / name)
    manifest["files"][name] = msgspec.to_builtins(facts)
    place.write_text(json.dumps(manifest))


def change_a_credential(made: Made) -> None:
    with closing(sqlite3.connect(made.backup / "database.sqlite3")) as database:
        database.execute("UPDATE routing_credential SET host = 'evil.example'")
        database.commit()
    rewrite(made, "database.sqlite3")


def name_a_file_outside(made: Made) -> None:
    place = made.backup / "manifest.json"
    manifest = json.loads(place.read_text())
    manifest["files"]["spool/../../../etc/cron.d/x"] = {"bytes": 0, "sha256": ""}
    place.write_text(json.dumps(manifest))


def name_a_database_outside(made: Made) -> None:
    place = made.backup / "manifest.json"
    manifest = json.loads(place.read_text())
    manifest["database"]["file"] = "../../elsewhere/database.sqlite3"
    place.write_text(json.dumps(manifest))


def name_a_database_without_checksum(made: Made) -> None:
    place = made.backup / "manifest.json"
    manifest = json.loads(place.read_text())
    del manifest["files"]["database.sqlite3"]
    place.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda made: flip(made.backup / "database.sqlite3"), "database.sqlite3 is damaged"),
        (lambda made: flip(next(made.backup.rglob("*.log"))), ".log is damaged"),
        (lambda made: flip(made.backup / "keys.sealed"), "keys.sealed is damaged"),
        (lambda made: next(made.backup.rglob("*.log")).unlink(), ".log is missing"),
        (lambda made: (made.backup / "more").touch(), "The file more is not in the manifest"),
        (lambda made: (made.backup / "manifest.json").unlink(), "is no backup"),
        (change_a_credential, "The manifest was changed"),
        (name_a_file_outside, "which no backup has"),
        (name_a_database_outside, "names '../../elsewhere/database.sqlite3', which no backup has"),
        (name_a_database_without_checksum, "no checksum of the database"),
    ],
    ids=[
        "database",
        "spool",
        "keys",
        "missing",
        "more",
        "no manifest",
        "changed",
        "outside",
        "database outside",
        "no checksum",
    ],
)
def test_what_was_damaged_or_changed_is_refused(
    made: Made, damage: Callable[[Made], None], told: str
) -> None:
    damage(made)
    assert told in complaint(made)


def test_another_passphrase_opens_no_keys(made: Made) -> None:
    assert "the passphrase is another one" in complaint(made, "another passphrase entirely")


def test_a_file_of_keys_chooses_no_memory_and_belongs_to_one_backup() -> None:
    sealed = keys_file.seal({"secret_key": "x"}, Secret(PASSPHRASE), "one")
    assert keys_file.unseal(sealed, Secret(PASSPHRASE), "one") == {"secret_key": "x"}
    for changed, told in (
        (sealed.replace(b'"cost":131072', b'"cost":1073741824'), "does not know"),
        (sealed.replace(b'"cost":131072', b'"cost":65536'), "cannot be opened"),
        (sealed.replace(b'"backup":"one"', b'"backup":"two"'), "are those of the backup"),
        (b"{}", "cannot be read"),
    ):
        with pytest.raises(BackupFailed, match=told):
            keys_file.unseal(changed, Secret(PASSPHRASE), "one")
    with pytest.raises(BackupFailed, match="12 characters"):
        keys_file.seal({}, Secret("short"), "one")


def test_one_of_a_newer_version_is_not_put_back(made: Made, tmp_path: Path) -> None:
    with closing(sqlite3.connect(made.backup / "database.sqlite3")) as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('tenants', '9999_future', '2030-01-01')"
        )
        database.commit()
    rewrite(made, "database.sqlite3")
    place = made.backup / "manifest.json"
    manifest = json.loads(place.read_text())
    manifest["database"]["migrations"]["tenants"].append("9999_future")
    place.write_text(json.dumps(manifest))
    elsewhere = made.here(tmp_path / "elsewhere")
    told = refusal(elsewhere, "restore", str(made.directory), "--without-keys")
    assert "does not know the migration tenants.9999_future" in told
    assert not (tmp_path / "elsewhere").exists()


def test_files_that_the_copied_database_has_not_read_are_copied(tmp_path: Path) -> None:
    source = tmp_path / "spool"
    for name in ("host.1.alive/000003.log", "archive/host.1.alive/000001.log",
                 "archive/host.1.alive/000002.log.damaged", "archive/host.2.done/000001.log",
                 "archive/host.3.new/000001.log"):  # fmt: skip
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode())
    places = {"host.1.alive": SpoolPlace(2, False), "host.2.done": SpoolPlace(1, True)}
    target = tmp_path / "copy"
    names = spools.collect(source, target, spools.unread_by(places, since=0.0))
    assert names == ["host.1.alive", "host.3.new"]
    found = {str(path.relative_to(target)) for path in target.rglob("*.log")}
    assert found == {
        "host.1.alive/000002.log",
        "host.1.alive/000003.log",
        "host.3.new/000001.log",
    }
    later = (source / "archive/host.3.new/000001.log").stat().st_mtime + 1
    names = spools.collect(source, tmp_path / "other", spools.unread_by(places, since=later))
    assert names == ["host.1.alive"]


def test_backups_of_one_second_have_names_of_their_own_in_their_order(tmp_path: Path) -> None:
    now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    names = []
    for _ in range(3):
        names.append(folder.free_name(tmp_path, now))
        (tmp_path / names[-1]).mkdir()
    assert names == ["20261231T235959Z", "20270101T000000Z", "20270101T000001Z"]
    assert folder.free_name(tmp_path, now, "-spools-a") == "20261231T235959Z-spools-a"
