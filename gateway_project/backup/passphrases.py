"""Find the passphrase of a backup's keys: a file that is named, or the setting."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandParser

from gateway_project.backup.files import BackupFailed
from gateway_project.lib.secret import Secret


def add_option(parser: CommandParser) -> None:
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="the passphrase of the keys, instead of TOLLGATE_BACKUP_PASSPHRASE",
    )


def chosen(file: Path | None, setting: Secret | None) -> Secret:
    """Raise BackupFailed if there is none."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BackupFailed(f"--passphrase-file: {file} cannot be read: {error}.") from error
        if not text:
            raise BackupFailed(f"--passphrase-file: {file} is empty.")
        return Secret(text)
    if setting is None:
        raise BackupFailed(
            "The keys need a passphrase: set TOLLGATE_BACKUP_PASSPHRASE_FILE or say --passphrase-file; "
            "--without-keys leaves them out."
        )
    return setting
