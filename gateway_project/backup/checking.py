"""Prove a backup without changing anything: checksums, sums by month, keys that open what is sealed."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from msgspec import Struct

from gateway_project.backup import (
    contents,
    dump_rows,
    files,
    keys_file,
    manifest,
    postgres,
    secret_files,
    sqlite,
)
from gateway_project.backup.contents import Contents, Row
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.manifest import DatabaseFacts, Manifest
from gateway_project.backup.postgres import PostgresServer
from gateway_project.backup.progress import ProgressTeller
from gateway_project.lib import sealing
from gateway_project.lib.keyring import Keyring, KeyringError, entry
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials
from tenants.keys import fingerprints


class CheckWishes(Struct, frozen=True):
    """The extent of a check. `keys`: where the sealed keys are if they are stored apart; without a passphrase
    they are left out. `scratch`: a server on which a dump may be restored for a moment."""

    passphrase: Secret | None = None
    keys: Path | None = None
    scratch: PostgresServer | None = None


class CheckedBackup(Struct, frozen=True):
    """A backup that was proved, and what is in it. `contents` is missing where only spools are kept."""

    path: Path
    manifest: Manifest
    contents: Contents | None
    secrets: dict[str, str]
    credentials_opened: int
    is_authenticated: bool


def check(path: Path, wishes: CheckWishes, progress: ProgressTeller) -> CheckedBackup:
    """Raise BackupFailed at the first thing that is not as it should be."""
    found = manifest.read(path)
    keys = _keys_of(path, found, wishes.keys)
    progress.begin("Comparing checksums …")
    _compare_files(path, found, keys)
    secrets = _open_keys(keys, found, wishes.passphrase)
    if secrets:
        ring = secret_files.ring(secrets, secret_files.ENCRYPTION)
        if not manifest.is_signed_by(found, ring):
            raise BackupFailed("The manifest was changed: it is not signed with the backup's key.")
    held = None
    if found.database is not None:
        progress.begin("Reading the copy of the database …")
        held = read_contents(path, found.database, progress)
        _compare_contents(held, found)
        if wishes.scratch is not None:
            _try_restore(path, found, wishes.scratch, progress)
    opened = _prove_keys(held, secrets) if held is not None and secrets else 0
    return CheckedBackup(path, found, held, secrets, opened, bool(secrets))


def read_contents(path: Path, database: DatabaseFacts, progress: ProgressTeller) -> Contents:
    """Read the copy of a database where it lies. Raise BackupFailed."""
    copied = path / database.file
    if database.kind == "postgresql":
        postgres.refuse_old_restore(database.dump_version, None, database.server_version)
        return dump_rows.read(copied, progress)
    sqlite.check(copied)
    with sqlite.cursor_of(copied) as cursor:
        return contents.read(cursor, "sqlite")


def _keys_of(path: Path, found: Manifest, given: Path | None) -> Path:
    """Return where the sealed keys are: in the backup, or where they are stored apart."""
    if given is None:
        return path / keys_file.NAME
    return given / keys_file.name_apart(found.name) if given.is_dir() else given


def _compare_files(path: Path, found: Manifest, keys: Path) -> None:
    for name, facts in found.files.items():
        file = keys if name == keys_file.NAME else path / name
        if file == keys and not file.exists():  # whether they are needed is asked below
            continue
        if not file.is_file():
            raise BackupFailed(f"The file {name} is missing.")
        if files.facts_of(file) != facts:
            raise BackupFailed(f"The file {name} is damaged: its checksum is another one.")
    known = {path / name for name in found.files} | {path / manifest.NAME}
    if unknown := [file for file in files.everything_in(path) if file not in known]:
        raise BackupFailed(f"The file {unknown[0].relative_to(path)} is not in the manifest.")


def _open_keys(keys: Path, found: Manifest, passphrase: Secret | None) -> dict[str, str]:
    if passphrase is None or found.database is None:
        return {}
    if keys_file.NAME not in found.files:
        raise BackupFailed("The backup was made without keys; say --without-keys.")
    if not keys.exists():
        raise BackupFailed(f"The keys are not in {keys}; say where they are stored with --keys.")
    return keys_file.unseal(keys.read_bytes(), passphrase, found.name)


def _compare_contents(held: Contents, found: Manifest) -> None:
    assert found.database is not None
    if held.months != found.database.months:
        raise BackupFailed("The sums by month are not those of the manifest.")
    if (held.origin, held.migrations) != (found.origin, found.database.migrations):
        raise BackupFailed("The migrations are not those of the manifest.")


def _prove_keys(held: Contents, secrets: dict[str, str]) -> int:
    """Compare keys with their fingerprints and open every credential; return how many were opened."""
    rings = {
        fingerprints.PEPPER: secret_files.ring(secrets, secret_files.PEPPERS),
        fingerprints.ENCRYPTION: secret_files.ring(secrets, secret_files.ENCRYPTION),
    }
    for kind, keys in rings.items():
        ours = fingerprints.digests(kind, keys)
        known = {row["key_id"]: row["digest"] for row in held.fingerprints if row["kind"] == kind}
        shared = ours.keys() & known.keys()
        if (known and not shared) or any(ours[key_id] != known[key_id] for key_id in shared):
            raise BackupFailed(
                f"The sealed keys ({kind}) are not those this database was used with."
            )
    text = "\n".join(entry(key_id, key) for key_id, key in rings[fingerprints.ENCRYPTION].items())
    ring = Keyring(lambda: text, "the sealed keys")
    for row in held.credentials:
        _open(row, ring)
    return len(held.credentials)


def _open(row: Row, ring: Keyring) -> None:
    pk, tenant = UUID(str(row["id"])), row["tenant_id"]
    place = credentials.place_of(None if tenant is None else int(tenant), pk, row["host"])
    try:
        sealing.unseal(row["sealed_secret"], place, ring)
    except (KeyringError, SealError) as error:
        raise BackupFailed(f"The credential {pk} cannot be opened: {error}") from error


def _try_restore(
    path: Path, found: Manifest, server: PostgresServer, progress: ProgressTeller
) -> None:
    assert found.database is not None
    if found.database.kind != "postgresql":
        raise BackupFailed("--scratch is for backups of PostgreSQL; this one is of SQLite.")
    postgres.refuse_old_restore(found.database.dump_version, server, found.database.server_version)
    progress.begin("Restoring it to a scratch database …")
    with postgres.scratch(server) as scratch:
        postgres.restore(scratch, path / found.database.file, progress)
        with scratch.connect() as connection, connection.cursor() as cursor:
            _compare_contents(contents.read(cursor, "postgresql"), found)
