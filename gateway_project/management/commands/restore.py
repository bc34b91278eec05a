"""restore: put a backup back, or prove that it could be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from gateway_project.backup import checking, folder, passphrases, restoring
from gateway_project.backup.checking import CheckedBackup, CheckWishes
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.postgres import PostgresServer
from gateway_project.backup.progress import ProgressTeller
from gateway_project.backup.restoring import RestoreDone, RestoreWishes
from gateway_project.lib import database_url
from gateway_project.lib.commands import AnsweringCommand, CommandResult
from gateway_project.lib.secret import Secret


class Command(AnsweringCommand):
    help = (
        "Put a backup into an empty data directory and an empty database, after checking it. With --check "
        "nothing is changed. Exit code 1 if the backup is not whole, or cannot be put back here."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "backup", type=Path, help="a backup, or a directory of which the newest is taken"
        )
        parser.add_argument(
            "--check", action="store_true", help="only check it; nothing is changed"
        )
        parser.add_argument(
            "--scratch", metavar="URL",
            help="with --check: restore a dump to a new database of this PostgreSQL, and drop that again",
        )  # fmt: skip
        passphrases.add_option(parser)
        parser.add_argument(
            "--keys",
            type=Path,
            metavar="FILE",
            help="the sealed keys where they are stored apart, or their directory",
        )
        parser.add_argument(
            "--without-keys", action="store_true",
            help="neither open nor restore the keys: this host has them",
        )  # fmt: skip
        parser.add_argument(
            "--with-spools", type=Path, metavar="DIR",
            help="a spool directory that survived: calls since the backup are booked from it",
        )  # fmt: skip
        parser.add_argument(
            "--give-up-other-spools", action="store_true",
            help="end the spools of which nothing is left, as of hosts that are lost",
        )  # fmt: skip

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        progress = ProgressTeller(self.stderr.write)
        try:
            checked = checking.check(folder.newest(options["backup"]), _wishes(options), progress)
            if options["check"]:
                return CommandResult(_found(checked), _check_text(checked))
            wishes = RestoreWishes(
                options["with_spools"], options["give_up_other_spools"], options["without_keys"]
            )
            done = restoring.restore(checked, wishes, progress)
        except BackupFailed as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.strerror or error}: {error.filename}.") from error
        return CommandResult({**_found(checked), **_done(done)}, _done_text(checked, done))


def _wishes(options: Mapping[str, Any]) -> CheckWishes:
    scratch = None
    if options["scratch"]:
        scratch = PostgresServer.of(database_url.parse(Secret(options["scratch"])))
    passphrase = None
    if not options["without_keys"]:
        passphrase = passphrases.chosen(options["passphrase_file"], settings.BACKUP_PASSPHRASE)
    return CheckWishes(passphrase, options["keys"], scratch)


def _found(checked: CheckedBackup) -> dict[str, Any]:
    database = checked.manifest.database
    return {
        "path": str(checked.path),
        "taken_at": checked.manifest.taken_at,
        "files": len(checked.manifest.files),
        "rows": 0 if database is None else sum(month.rows for month in database.months),
        "charge_nano": 0
        if database is None
        else sum(month.charge_nano for month in database.months),
        "spools": len(checked.manifest.spools),
        "keys_opened": bool(checked.secrets),
        "credentials_opened": checked.credentials_opened,
    }


def _check_text(checked: CheckedBackup) -> str:
    found = _found(checked)
    keys = (
        f"keys opened, {found['credentials_opened']} credentials opened with them"
        if checked.secrets
        else "keys were not looked at, so that nobody knows who wrote the manifest"
    )
    return (
        f"{checked.path} is whole: {found['files']} files, {found['rows']} rows of the ledger as the "
        f"manifest says, {found['spools']} spools, {keys}."
    )


def _done(done: RestoreDone) -> dict[str, Any]:
    return {
        "restored": True,
        "spools_put_back": len(done.spools),
        "spools_missing": done.missing,
        "variables_kept": done.variables,
        "pending_migrations": done.pending,
    }


def _done_text(checked: CheckedBackup, done: RestoreDone) -> str:
    lines = [f"{checked.path}, of {checked.manifest.taken_at}, is put back."]
    if done.variables:
        lines.append(f"{', '.join(done.variables)} stay in force instead of the backup's keys.")
    if done.missing:
        hosts = ", ".join(sorted({name.partition(".")[0] for name in done.missing}))
        lines.append(
            f"{len(done.missing)} spools of {hosts} were not in it: put back the backups of those hosts' "
            "spools; budgets hold what they held until then (--give-up-other-spools if they are lost)."
        )
    if done.pending:
        lines.append(f"{len(done.pending)} migrations are pending: run manage.py migrate.")
    lines.append("Run manage.py doctor, then serve: what the spools hold is booked by it.")
    return "\n".join(lines)
