"""Put a backup back where nothing is: it is checked first, then spools, keys, and the database last.

Whatever ends a restore half-way leaves no database that could be served, and spools and keys that the next
one names as being in its way.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from msgspec import Struct

from gateway_project import migrating
from gateway_project.backup import (
    contents,
    files,
    manifest,
    postgres,
    record,
    secret_files,
    spools,
    sqlite,
)
from gateway_project.backup.checking import CheckedBackup
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.manifest import DatabaseFacts, Manifest
from gateway_project.backup.progress import ProgressTeller
from routing import credentials
from tenants.ledger import ingest


class RestoreWishes(Struct, frozen=True):
    """`surviving`: a spool directory that outlived the database; `gives_up`: spools of other hosts are lost;
    `without_keys`: the keys are here already."""

    surviving: Path | None = None
    gives_up: bool = False
    without_keys: bool = False


class RestoreDone(Struct, frozen=True):
    """The outcome of a restore. `missing`: unfinished spools of which nothing was there; `variables`: those
    that stayed in force instead of a file; `pending`: migrations that this version would still apply."""

    spools: list[str]
    missing: list[str]
    variables: list[str]
    pending: list[str]


def restore(backup: CheckedBackup, wishes: RestoreWishes, progress: ProgressTeller) -> RestoreDone:
    """Raise BackupFailed before anything is changed, if it cannot be put back here."""
    database = backup.manifest.database
    if database is None:
        return _restore_spools_alone(backup, progress)
    assert backup.contents is not None
    _refuse_other(database)
    _refuse_unsigned(backup)
    _refuse_occupied(wishes)
    if wishes.surviving is not None:
        _refuse_foreign_spools(wishes.surviving, backup.manifest)
    progress.begin("Putting the spools back …")
    put = _put_spools(backup, wishes)
    missing = sorted(set(backup.contents.unfinished_spools) - set(put))
    if wishes.gives_up:
        spools.give_up(settings.SPOOL_DIR, missing)
    variables = secret_files.put_back(backup.secrets)
    progress.begin("Putting the database back …")
    _put_database(backup, database, progress)
    return RestoreDone(put, [] if wishes.gives_up else missing, variables, _finish(backup.manifest))


def _restore_spools_alone(backup: CheckedBackup, progress: ProgressTeller) -> RestoreDone:
    """Put back one host's spools, beside a database that is there already."""
    with connection.cursor() as cursor:
        kind: contents.Kind = "sqlite" if connection.vendor == "sqlite" else "postgresql"
        held = contents.read(cursor, kind)
    if held.origin != backup.manifest.origin:
        raise BackupFailed("The spools belong to another database than this host's.")
    if not secret_files.has_encryption_keys():
        raise BackupFailed(
            "This host has no keys: put the database's backup or its keys back first."
        )
    _refuse_unsigned(backup)
    _refuse_spools()
    progress.begin("Putting the spools back …")
    names = backup.manifest.spools
    spools.put_back(backup.path / spools.FOLDER, settings.SPOOL_DIR, names)
    return RestoreDone(names, [], [], migrating.pending())


def _refuse_unsigned(backup: CheckedBackup) -> None:
    """Refuse what somebody else made, as far as that is known: the check knows it of keys that it opened."""
    if backup.is_authenticated or not secret_files.has_encryption_keys():
        return
    if not manifest.is_signed_by(backup.manifest, credentials.keyring().all()):
        raise BackupFailed("The manifest is not signed with a key of this host: it was changed.")


def _refuse_other(database: DatabaseFacts) -> None:
    """Refuse a backup of the other kind of database, or of a newer version."""
    if database.kind != connection.vendor:
        raise BackupFailed(
            f"The backup is of {database.kind}, but DATABASE_URL names {connection.vendor}."
        )
    known = MigrationLoader(None).disk_migrations
    unknown = [
        f"{app}.{name}"
        for app, names in database.migrations.items()
        for name in names
        if (app, name) not in known and not _is_replaced(app, name, known)
    ]
    if unknown:
        raise BackupFailed(
            f"The backup is of a newer version: this one does not know the migration {unknown[0]}."
        )
    if database.kind == "postgresql":
        server = postgres.PostgresServer.of(connection.settings_dict)
        postgres.refuse_old_restore(database.dump_version, server, database.server_version)


def _is_replaced(app: str, name: str, known: object) -> bool:
    values = known.values() if isinstance(known, dict) else ()
    return any((app, name) in migration.replaces for migration in values)


def _refuse_occupied(wishes: RestoreWishes) -> None:
    if not wishes.without_keys and (found := secret_files.in_the_way()):
        raise BackupFailed(
            f"{found[0]} exists: a restore needs an empty data directory. Name another one with "
            "TOLLGATE_DATA_DIR, or move that one away; --without-keys leaves keys as they are."
        )
    _refuse_spools()
    if connection.vendor == "sqlite":
        file = connection.settings_dict["NAME"]
        # A log that was left is applied to whatever database is put beside it.
        places = [Path(f"{file}{suffix}") for suffix in ("", "-wal", "-journal")]
        if found_there := [place for place in places if place.exists()]:
            raise _database_exists(found_there[0])
    elif postgres.PostgresServer.of(connection.settings_dict).has_tables():
        raise BackupFailed(
            "The database of DATABASE_URL has tables: a restore needs an empty one (createdb)."
        )


def _database_exists(place: Path) -> BackupFailed:
    return BackupFailed(f"{place} exists: a restore never replaces a database.")


def _refuse_spools() -> None:
    if settings.SPOOL_DIR.is_dir() and ingest.spools(settings.SPOOL_DIR):
        raise BackupFailed(f"There are spools in {settings.SPOOL_DIR}: a restore needs none there.")


def _refuse_foreign_spools(directory: Path, backup: Manifest) -> None:
    if not directory.is_dir():
        raise BackupFailed(f"There is no directory {directory}.")
    if directory.resolve() == settings.SPOOL_DIR.resolve():
        raise BackupFailed("--with-spools names the directory that is restored to; move it away.")
    if not spools.belongs_to(directory, backup.origin):
        raise BackupFailed(f"The spools in {directory} were booked in another database.")
    spools.refuse_living(directory)


def _put_spools(backup: CheckedBackup, wishes: RestoreWishes) -> list[str]:
    assert backup.contents is not None
    target = settings.SPOOL_DIR
    spools.put_back(backup.path / spools.FOLDER, target, backup.manifest.spools)
    if wishes.surviving is None:
        return backup.manifest.spools
    since = spools.booked_here_since(wishes.surviving)
    is_needed = spools.unread_by(backup.contents.places, since)
    return spools.collect(wishes.surviving, target, is_needed)


def _put_database(backup: CheckedBackup, database: DatabaseFacts, progress: ProgressTeller) -> None:
    source = backup.path / database.file
    if database.kind == "postgresql":
        server = postgres.PostgresServer.of(connection.settings_dict)
        postgres.restore(server, source, progress)
        with server.connect(autocommit=True) as fresh, fresh.cursor() as cursor:
            cursor.execute("ANALYZE")
            restored = contents.sums_by_month(cursor, "postgresql")
    else:
        target = Path(connection.settings_dict["NAME"])
        _put_file(source, target)
        with sqlite.cursor_of(target) as cursor:
            restored = contents.sums_by_month(cursor, "sqlite")
    if restored != database.months:
        raise BackupFailed("The restored database does not have the sums of the backup.")


def _put_file(source: Path, target: Path) -> None:
    """Put a database in its place at once, unless one was made there meanwhile."""
    draft = target.with_name(f".{target.name}.restoring")
    draft.unlink(missing_ok=True)
    files.copy(source, draft)
    try:
        os.link(draft, target)  # which replaces nothing, as renaming does
    except FileExistsError as error:
        raise _database_exists(target) from error
    finally:
        draft.unlink()
    files.sync(target.parent)


def _finish(backup: Manifest) -> list[str]:
    """Return the migrations that are pending; where none is, record the restore in the audit log."""
    pending = migrating.pending()
    if not pending:
        record.restored(backup)
    return pending
