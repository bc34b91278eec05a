"""A backup is made while others write, and put back elsewhere with everything that was not booked yet."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from gateway_project.backup import files, postgres, sqlite
from gateway_project.backup.progress import ProgressTeller
from gateway_project.lib import database_url
from gateway_project.lib.secret import Secret
from tests.backup.conftest import Made, refusal, run
from tests.processes.served import shell
from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS

pytestmark = pytest.mark.long

ROWS = """
import json
from tenants.keys import peppers
from tenants.models import KeySecret, UsageRow
digests = [bytes(row.digest) for row in KeySecret.objects.all()]
print(json.dumps([
    [str(row) for row in UsageRow.objects.order_by("id").values_list("pk", flat=True)],
    peppers.digest({secret!r}) in digests,
]))
"""
MORE = """
import json
from django.conf import settings
from tenants.ledger.ingest import ingest_all
from tenants.ledger.spool import Spool
from tenants.models import ApiKey
from tests.tenants.ledger.conftest import write_call
key = ApiKey.objects.get()
spool = Spool(settings.SPOOL_DIR)
whose = {"tenant_id": key.tenant_id, "key_id": key.pk, "key": key.public_id}
for _ in range(3):
    write_call(spool, **whose)
print(json.dumps([ingest_all(settings.SPOOL_DIR).rows, spool.name]))
"""


# The database was copied, and nothing else yet.
KILLED = """
import os, signal
from django.core.management import call_command
from gateway_project.backup import sqlite
copy = sqlite.copy
def copy_and_die(*given):
    copy(*given)
    os.kill(os.getpid(), signal.SIGKILL)
sqlite.copy = copy_and_die
call_command("backup", {directory!r})
"""
# No file may be larger than a quarter of a megabyte.
FULL = """
import resource
from django.core.management import execute_from_command_line
resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, resource.RLIM_INFINITY))
execute_from_command_line(["manage.py", "backup", {directory!r}])
"""


def shell_of(made: Made, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that need not come to its end."""
    program = ["manage.py", "shell", "--no-imports", "-v", "0", "-c", script]
    return warm.run(program, made.variables, GIVE_UP_SECONDS)


def booked(variables: dict[str, str], secret: str) -> tuple[list[str], bool]:
    """Ids of the rows once all spools are read, and whether the key is known under the peppers here."""
    run(variables, "ingest", "--once")
    ids, is_known = shell(variables, ROWS.format(secret=secret))
    return ids, is_known


def copied(made: Made, tmp_path: Path) -> dict[str, str]:
    """The installation itself, for a test that goes on with it."""
    data_dir = tmp_path / "original"
    shutil.copytree(made.variables["TOLLGATE_DATA_DIR"], data_dir)
    return made.here(data_dir)


def test_it_is_put_back_elsewhere_with_what_was_not_booked(made: Made, tmp_path: Path) -> None:
    elsewhere = made.here(tmp_path / "elsewhere")
    told = run(elsewhere, "restore", str(made.directory))
    assert (told["rows"], told["spools_put_back"], told["credentials_opened"]) == (2, 1, 1)
    assert (told["spools_missing"], told["pending_migrations"]) == ([], [])

    ids, is_known = booked(elsewhere, made.secret)
    assert (len(ids), is_known) == (3, True)
    assert run(elsewhere, "ledger_check")["ok"]
    findings = run(elsewhere, "doctor")
    assert findings["ok"]
    assert booked(copied(made, tmp_path), made.secret)[0] == ids
    assert "exists: a restore needs an empty data directory" in refusal(
        elsewhere, "restore", str(made.directory)
    )


def test_calls_since_it_was_made_come_back_from_spools_that_survived(
    made: Made, tmp_path: Path
) -> None:
    original = copied(made, tmp_path)
    rows, name = shell(original, MORE)
    assert rows == 4  # with the one that nobody had booked
    everything = booked(original, made.secret)[0]
    survived = tmp_path / "original" / "spool"
    assert (survived / "archive" / name).exists()

    elsewhere = made.here(tmp_path / "elsewhere")
    run(elsewhere, "restore", str(made.directory), "--with-spools", str(survived))
    assert booked(elsewhere, made.secret)[0] == everything
    assert run(elsewhere, "ledger_check")["ok"]
    again = run(elsewhere, "ingest", "--once")
    assert (again["rows"], booked(elsewhere, made.secret)[0]) == (0, everything)


def test_each_host_puts_its_own_spools_back(made: Made, tmp_path: Path) -> None:
    original = copied(made, tmp_path)
    run(original, "backup", str(tmp_path / "of-hosts"), "--spools-only")
    (of_host,) = (tmp_path / "of-hosts").glob("*-spools-*")
    shutil.rmtree(tmp_path / "original" / "spool")
    forged = tmp_path / "forged"
    shutil.copytree(of_host, forged)
    manifest = json.loads((forged / "manifest.json").read_text())
    (forged / "manifest.json").write_text(json.dumps({**manifest, "host": "another"}))
    assert "it was changed" in refusal(original, "restore", str(forged), "--without-keys")
    told = run(original, "restore", str(of_host), "--without-keys")
    assert told["spools_put_back"] == 1
    assert len(booked(original, made.secret)[0]) == 3


def test_spools_that_are_lost_are_named_and_can_be_given_up(made: Made, tmp_path: Path) -> None:
    original = copied(made, tmp_path)
    lost = next((tmp_path / "original" / "spool").glob("*.*.*"))
    shutil.rmtree(lost)
    run(original, "backup", str(tmp_path / "poor"))
    first = run(made.here(tmp_path / "first"), "restore", str(tmp_path / "poor"))
    assert first["spools_missing"] == [lost.name]
    second = made.here(tmp_path / "second")
    run(second, "restore", str(tmp_path / "poor"), "--give-up-other-spools")
    assert run(second, "ingest", "--once")["finished"] == 1


def test_a_copy_of_sqlite_is_one_moment_though_others_write_all_the_time(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with closing(sqlite3.connect(source, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE wide (text TEXT)")
        writer.executemany("INSERT INTO wide VALUES (?)", [("x" * 4000,)] * 200)

        class Writing(ProgressTeller):
            def tell(self, how_far: str) -> None:
                writer.execute("INSERT INTO wide VALUES ('meanwhile')")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sqlite, "PAGES", 8)
            sqlite.copy(source, target, Writing(print))
        assert writer.execute("SELECT count(*) FROM wide").fetchone()[0] > 210
    sqlite.check(target)
    with sqlite.cursor_of(target) as cursor:
        assert cursor.execute("SELECT count(*) FROM wide").fetchone() == (200,)


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
def test_a_database_or_its_log_is_never_replaced(made: Made, tmp_path: Path, suffix: str) -> None:
    elsewhere = made.here(tmp_path / "elsewhere")
    there = tmp_path / "elsewhere" / f"tollgate.sqlite3{suffix}"
    there.parent.mkdir()
    there.write_bytes(b"somebody's")
    told = refusal(elsewhere, "restore", str(made.directory))
    assert f"{there} exists: a restore never replaces a database" in told
    assert there.read_bytes() == b"somebody's"
    assert not (there.parent / "spool").exists()


def test_only_its_owner_can_read_it(made: Made) -> None:
    paths = [made.backup, *made.backup.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}
    content = b"".join(path.read_bytes() for path in files.everything_in(made.backup))
    for name in ("secret_key", "key_peppers", "key_encryption_keys"):
        secret = (Path(made.variables["TOLLGATE_DATA_DIR"]) / name).read_bytes().strip()
        assert secret not in content


def test_older_ones_of_the_same_installation_are_removed(made: Made) -> None:
    first = made.backup
    others = [made.directory / f"2020010{day}T000000Z" for day in (1, 2)]
    shutil.copytree(first, others[0])  # an older one of ours
    shutil.copytree(first, others[1])
    manifest = json.loads((others[1] / "manifest.json").read_text())
    manifest["origin"] = "somebody else's"
    (others[1] / "manifest.json").write_text(json.dumps(manifest))
    told = run(made.variables, "backup", str(made.directory), "--keep", "1")
    assert told["pruned"] == [others[0].name, first.name]
    left = {path.name for path in made.directory.iterdir() if not path.name.startswith(".")}
    assert left == {others[1].name, Path(told["path"]).name}


def test_one_that_is_killed_leaves_nothing_that_looks_whole(made: Made, tmp_path: Path) -> None:
    directory = tmp_path / "killed"
    ended = shell_of(made, KILLED.format(directory=str(directory)))
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert any(directory.glob(".new-*/database.sqlite3"))
    assert "There is no whole backup" in refusal(
        made.variables, "restore", str(directory), "--check"
    )
    run(made.variables, "backup", str(directory))
    assert not list(directory.glob(".new-*"))
    run(made.variables, "restore", str(directory), "--check")


def test_a_disk_that_is_full_is_told_and_leaves_nothing(made: Made, tmp_path: Path) -> None:
    directory = tmp_path / "full"
    ended = shell_of(made, FULL.format(directory=str(directory)))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "CommandError: The database could not be copied" in ended.stderr
    assert [path.name for path in directory.iterdir()] == [".lock"]


def test_without_a_passphrase_there_are_no_keys_and_no_backup_by_mistake(
    made: Made, tmp_path: Path
) -> None:
    variables = {**made.variables, "TOLLGATE_BACKUP_PASSPHRASE": ""}
    assert "The keys need a passphrase" in refusal(variables, "backup", str(tmp_path / "none"))
    told = run(variables, "backup", str(tmp_path / "none"), "--without-keys")
    assert told["keys"] is False
    assert not (Path(told["path"]) / "keys.sealed").exists()


def test_keys_are_stored_apart(made: Made, tmp_path: Path) -> None:
    data, apart = tmp_path / "data", tmp_path / "apart"
    run(made.variables, "backup", str(data), "--keys-dir", str(apart))
    assert not list(data.rglob("keys.sealed"))
    assert "say where they are stored with --keys" in refusal(
        made.variables, "restore", str(data), "--check"
    )
    checked = run(made.variables, "restore", str(data), "--check", "--keys", str(apart))
    assert checked["keys_opened"] is True
    (old,) = apart.iterdir()
    told = run(made.variables, "backup", str(data), "--keys-dir", str(apart), "--keep", "1")
    assert [f"{name}.keys.sealed" for name in told["pruned"]] == [old.name]
    assert [path.name for path in apart.iterdir()] == [f"{Path(told['path']).name}.keys.sealed"]


def test_arguments_of_pg_dump_say_nothing_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > seen\ncat "$PGSERVICEFILE" > service\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    url = "postgres://u:hidden-1@db.example:5433/books?sslmode=require&sslpassword=hidden-2"
    server = postgres.PostgresServer.of(database_url.parse(Secret(url)))
    postgres.dump(server, "snapshot-1", tmp_path / "dump", ProgressTeller(lambda _: None))
    assert "hidden" not in repr(server)
    seen, service = ((tmp_path / name).read_text() for name in ("seen", "service"))
    assert "--dbname=service=tollgate" in seen
    assert not {word for word in ("hidden", "example", "books") if word in seen}
    lines = service.splitlines()
    assert (lines[0], {"host=db.example", "sslpassword=hidden-2"} <= {*lines}) == (
        "[tollgate]",
        True,
    )
