"""doctor: what is configured and what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gateway_project import doctor
from gateway_project.lib.commands import AnsweringCommand, CommandResult


class Command(AnsweringCommand):
    help = "Say what is configured and what is missing. Exit code 1 if something is broken."

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        findings = doctor.examine()
        ok = doctor.is_sound(findings)
        fields = {"ok": ok, "findings": [dataclasses.asdict(found) for found in findings]}
        return CommandResult(fields, "\n".join(map(str, findings)), ok=ok)
