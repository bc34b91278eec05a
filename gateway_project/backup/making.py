"""Make a backup while the gateway serves: the database, then the spools, then the keys, the manifest last."""

from __future__ import annotations

import platform
from datetime import datetime
from pathlib import Path

import django
from django.conf import settings
from django.db import connection
from msgspec import Struct, structs

from gateway_project.backup import (
    contents,
    files,
    folder,
    keys_file,
    manifest,
    postgres,
    record,
    secret_files,
    spools,
    sqlite,
)
from gateway_project.backup.contents import Contents
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.manifest import DatabaseFacts, Manifest
from gateway_project.backup.progress import ProgressTeller
from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from routing import credentials
from tenants import heartbeats


class BackupWishes(Struct, frozen=True):
    """The operator's wishes for a backup. `keys_directory`: where the sealed keys go instead."""

    directory: Path
    passphrase: Secret | None = None
    keys_directory: Path | None = None
    keep: int | None = None
    spools_only: bool = False


class BackupMade(Struct, frozen=True):
    """The backup that was made, and those that were removed for it."""

    path: Path
    manifest: Manifest
    pruned: list[str]


def make(wishes: BackupWishes, progress: ProgressTeller) -> BackupMade:
    """Raise BackupFailed; then nothing is left that looks like a backup."""
    taken_at = clock.now()
    ending = f"-spools-{_host_in_a_name()}" if wishes.spools_only else ""
    try:
        with folder.locked(wishes.directory):
            name = folder.free_name(wishes.directory, taken_at, ending)
            with folder.draft(wishes.directory, name) as draft:
                made = _fill(draft, name, taken_at, wishes, progress)
            record.made(made, wishes.directory / name)
            pruned = folder.prune(wishes.directory, made, wishes.keep) if wishes.keep else []
            if wishes.keys_directory is not None:
                _remove_keys(wishes.keys_directory, pruned)
    except OSError as error:
        raise BackupFailed(
            f"{error.strerror or error}: {error.filename or wishes.directory}."
        ) from error
    return BackupMade(wishes.directory / name, made, pruned)


def _host_in_a_name() -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in heartbeats.host_name())


def _fill(
    draft: Path, name: str, taken_at: datetime, wishes: BackupWishes, progress: ProgressTeller
) -> Manifest:
    if wishes.spools_only:
        found, database = _known(), None
        is_needed = spools.unread_by({}, record.last_at_timestamp())
    else:
        found, database = _copy_database(draft, progress)
        since = spools.booked_here_since(settings.SPOOL_DIR)
        is_needed = spools.unread_by(found.places, since)
    progress.begin("Copying what is not booked yet …")
    copied = spools.collect(settings.SPOOL_DIR, draft / spools.FOLDER, is_needed)
    secrets = {} if wishes.spools_only else _seal_keys(draft, name, wishes, progress)
    progress.begin("Computing checksums …")
    made = Manifest(
        format=manifest.FORMAT,
        name=name,
        taken_at=taken_at.isoformat(),
        finished_at=clock.now().isoformat(),
        host=heartbeats.host_name(),
        versions={"python": platform.python_version(), "django": django.__version__},
        origin=found.origin,
        database=database,
        keys=secret_files.key_ids(secrets) if secrets else {},
        spools=copied,
        files={
            str(path.relative_to(draft)): files.facts_of(path)
            for path in files.everything_in(draft)
        },
    )
    made = manifest.sign(made, *credentials.keyring().current)
    if secrets and wishes.keys_directory is not None:
        _set_apart(draft, name, wishes.keys_directory)
    manifest.write(draft, made)
    return made


def _copy_database(draft: Path, progress: ProgressTeller) -> tuple[Contents, DatabaseFacts]:
    progress.begin("Copying the database …")
    if connection.vendor == "sqlite":
        copied = draft / sqlite.NAME
        sqlite.copy(Path(connection.settings_dict["NAME"]), copied, progress)
        with sqlite.cursor_of(copied) as cursor:
            found = contents.read(cursor, "sqlite")
        return found, manifest.database_facts(found, "sqlite", sqlite.NAME, 0, 0)
    server = postgres.PostgresServer.of(connection.settings_dict)
    dump_version = postgres.refuse_old_dump(server)
    with postgres.snapshot(server) as (cursor, snapshot):
        found = contents.read(cursor, "postgresql")
        postgres.dump(server, snapshot, draft / postgres.NAME, progress)
    facts = manifest.database_facts(
        found, "postgresql", postgres.NAME, server.version(), dump_version
    )
    return found, facts


def _known() -> Contents:
    """Return what the live database says, without copying it."""
    with connection.cursor() as cursor:
        vendor: contents.Kind = "sqlite" if connection.vendor == "sqlite" else "postgresql"
        return structs.replace(contents.read(cursor, vendor), months=[])


def _seal_keys(
    draft: Path, name: str, wishes: BackupWishes, progress: ProgressTeller
) -> dict[str, str]:
    """Write the sealed keys; return what was sealed, which is nothing without a passphrase."""
    if wishes.passphrase is None:
        return {}
    progress.begin("Sealing the keys …")
    secrets = secret_files.gather()
    files.write(draft / keys_file.NAME, keys_file.seal(secrets, wishes.passphrase, name))
    return secrets


def _remove_keys(directory: Path, pruned: list[str]) -> None:
    """Remove the keys that were stored apart from backups that are no more."""
    for name in pruned:
        (directory / keys_file.name_apart(name)).unlink(missing_ok=True)


def _set_apart(draft: Path, name: str, directory: Path) -> None:
    """Move the sealed keys to where they are stored apart; the manifest knows their checksum."""
    files.make_directory(directory)
    apart = directory / keys_file.name_apart(name)
    files.copy(draft / keys_file.NAME, apart)
    files.sync(directory)
    (draft / keys_file.NAME).unlink()
