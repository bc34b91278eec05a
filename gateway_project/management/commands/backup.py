"""backup: copy the installation while it serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from gateway_project.backup import making, passphrases
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.making import BackupMade, BackupWishes
from gateway_project.backup.progress import ProgressTeller
from gateway_project.lib.commands import AnsweringCommand, CommandResult


class Command(AnsweringCommand):
    help = (
        "Copy the installation while it serves: database, spools that are not booked, and the keys, sealed "
        "with a passphrase. Progress goes to stderr; exit code 1 if there is no backup."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "directory", type=Path, help="where backups are kept; each has its own folder"
        )
        parser.add_argument(
            "--keep", type=int, metavar="N", help="then remove older backups but the newest N"
        )
        passphrases.add_option(parser)
        parser.add_argument(
            "--keys-dir",
            type=Path,
            metavar="DIR",
            help="put the sealed keys here, apart from the data",
        )
        parser.add_argument(
            "--without-keys",
            action="store_true",
            help="leave the keys out: they are kept elsewhere",
        )
        parser.add_argument(
            "--spools-only", action="store_true",
            help="only this host's spools: the database is backed up from another host",
        )  # fmt: skip

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        if options["keep"] is not None and options["keep"] < 1:
            raise CommandError("--keep must be at least 1.")
        try:
            needs_none = options["without_keys"] or options["spools_only"]
            wishes = BackupWishes(
                directory=options["directory"].absolute(),
                passphrase=None
                if needs_none
                else passphrases.chosen(options["passphrase_file"], settings.BACKUP_PASSPHRASE),
                keys_directory=options["keys_dir"] and options["keys_dir"].absolute(),
                keep=options["keep"],
                spools_only=options["spools_only"],
            )
            made = making.make(wishes, ProgressTeller(self.stderr.write))
        except BackupFailed as error:
            raise CommandError(str(error)) from error
        return CommandResult(_fields(made), _text(made))


def _fields(made: BackupMade) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "bytes": sum(file.bytes for file in made.manifest.files.values()),
        "rows": _rows(made),
        "spools": len(made.manifest.spools),
        "keys": bool(made.manifest.keys),
        "pruned": made.pruned,
    }


def _rows(made: BackupMade) -> int:
    database = made.manifest.database
    return 0 if database is None else sum(month.rows for month in database.months)


def _text(made: BackupMade) -> str:
    fields = _fields(made)
    text = (
        f"{fields['path']}: {fields['rows']} rows of the ledger, {fields['spools']} spools, "
        f"{fields['bytes'] / 1e6:.1f} MB."
    )
    if not made.manifest.keys:
        text += " The keys are not in it."
    if made.pruned:
        text += f" {len(made.pruned)} older backups were removed."
    return text
