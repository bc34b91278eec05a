"""Say what is in a backup, and who made it: the manifest, authenticated with a key that is in none of it.

Whoever can write to where backups are kept could change a file and its checksum. The HMAC is made with the
key-encryption key, so that a restore notices.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from gateway_project.backup import files
from gateway_project.backup.contents import Contents, Kind, MonthSums
from gateway_project.backup.files import BackupFailed, FileFacts

NAME = "manifest.json"
FORMAT = "tollgate-backup-1"
_FILE = re.compile(
    r"(?:database\.sqlite3|database\.dump|keys\.sealed|spool/set-aside\.jsonl"
    r"|spool/[A-Za-z0-9-]{1,100}\.\d+\.[A-Za-z0-9]+/\d{6,}\.log)\Z"
)
_DATABASES = ("database.sqlite3", "database.dump")
_SPOOL = re.compile(r"[A-Za-z0-9-]{1,100}\.\d+\.[A-Za-z0-9]+\Z")


class DatabaseFacts(Struct, frozen=True):
    """The database that was backed up. Versions are those of the server and of pg_dump, 0 for SQLite."""

    kind: Kind
    file: str
    migrations: dict[str, list[str]]
    months: list[MonthSums]
    server_version: int = 0
    dump_version: int = 0


class Manifest(Struct, frozen=True, omit_defaults=True):
    """A backup. `origin` names the installation's database; `database` is missing where only spools are
    kept; `keys` are the ids of the keys that are sealed, by file; `spools` are all that were copied."""

    format: str
    name: str
    taken_at: str
    finished_at: str
    host: str
    versions: dict[str, str]
    origin: str
    database: DatabaseFacts | None
    keys: dict[str, list[str]]
    spools: list[str]
    files: dict[str, FileFacts]
    key_id: str = ""
    hmac: str = ""


def database_facts(
    contents: Contents, kind: Kind, file: str, server: int, dump: int
) -> DatabaseFacts:
    return DatabaseFacts(kind, file, contents.migrations, contents.months, server, dump)


def sign(manifest: Manifest, key_id: str, key: bytes) -> Manifest:
    return structs.replace(manifest, key_id=key_id, hmac=_hmac(manifest, key))


def is_signed_by(manifest: Manifest, keys: Mapping[str, bytes]) -> bool:
    key = keys.get(manifest.key_id)
    return key is not None and hmac.compare_digest(_hmac(manifest, key), manifest.hmac)


def _hmac(manifest: Manifest, key: bytes) -> str:
    own = hmac.digest(key, b"tollgate backup manifest", "sha256")
    unsigned = structs.replace(manifest, key_id="", hmac="")
    return hmac.digest(own, msgspec.json.encode(unsigned, order="sorted"), "sha256").hex()


def write(directory: Path, manifest: Manifest) -> None:
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    files.write(directory / NAME, content + b"\n")


def read(directory: Path) -> Manifest:
    """Return the manifest of a backup. Raise BackupFailed."""
    try:
        found = msgspec.json.decode((directory / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise BackupFailed(
            f"{directory} is no backup: it has no {NAME}, which is written last."
        ) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupFailed(f"The manifest in {directory} cannot be read: {error}.") from error
    if found.format != FORMAT:
        raise BackupFailed(
            f"The backup has the format {found.format!r}, this version knows {FORMAT!r}."
        )
    strange = [name for name in found.files if not _FILE.match(name)]
    strange += [name for name in found.spools if not _SPOOL.match(name)]
    if found.database is not None and found.database.file not in _DATABASES:
        strange.append(found.database.file)
    if strange:
        raise BackupFailed(f"The manifest names {strange[0]!r}, which no backup has.")
    if found.database is not None and found.database.file not in found.files:
        raise BackupFailed("The manifest has no checksum of the database.")
    return found
