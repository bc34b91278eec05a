"""audit_verify: check that the audit log is whole."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from gateway_project.lib.commands import (
    AnsweringCommand,
    CommandResult,
    add_progress_option,
    progress_of,
)
from tenants import directory
from tenants.audit import known_hashes, verifying
from tenants.audit.known_hashes import NOTHING_KNOWN, KnownHashes
from tenants.audit.verifying import ChainReport


class Command(AnsweringCommand):
    help = "Check every chain of the audit log; exit code 1 with the first bad number of each."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--tenant", help="only this tenant's chain")
        parser.add_argument(
            "--known",
            metavar="FILE",
            help="hashes that are kept elsewhere, as JSON Lines: an export, what a receiver has, log lines of"
            " checkpoints; - for standard input",
        )
        add_progress_option(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        known = _known(options["known"])
        numbers = sorted({*verifying.chains(), *known}) if tenant is None else [tenant.pk]
        progress = progress_of(options)
        verdicts = [
            verifying.verify(number, progress, known.get(number, NOTHING_KNOWN))
            for number in numbers
        ]
        whole = all(verdict.is_whole for verdict in verdicts)
        fields = {"ok": whole, "chains": [dataclasses.asdict(each) for each in verdicts]}
        text = "\n".join(map(_sentence, verdicts)) or "There are no events yet."
        return CommandResult(fields, text, ok=whole)


def _known(path: str | None) -> Mapping[int, KnownHashes]:
    if path is None:
        return {}
    try:
        if path == "-":
            return known_hashes.read(sys.stdin)
        with Path(path).open(encoding="utf-8") as lines:
            return known_hashes.read(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise ValidationError({"known": f"{path} cannot be read: {error}."}) from error


def _sentence(verdict: ChainReport) -> str:
    name = verifying.name_of(verdict.chain)
    if not verdict.is_whole:
        return f"{name}: event {verdict.bad_sequence} is bad: {verdict.problem}."
    signed = f"signed up to {verdict.signed_sequence}" if verdict.signed_sequence else "not signed"
    count = verdict.last_sequence - verdict.first_sequence + 1
    notes = "".join(f"; {note}" for note in verdict.notes)
    waiting = f"; {verdict.unjoined} not chained yet" if verdict.unjoined else ""
    compared = f", {verdict.compared} as they are known" if verdict.compared else ""
    end = f"; the last one's hash is {verdict.last_hash}" if verdict.last_hash else ""
    told = f"{count} events to number {verdict.last_sequence}, {signed}{compared}"
    return f"{name}: {told}{waiting}{notes}{end}."
