"""fetch_task: save the file of a task that is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.http import Http404

from gateway_project.lib.commands import CommandResult
from tenants.access.access import OPERATOR
from tenants.api.long_work import TaskRows
from tenants.long_work import files
from tenants.management.rows import OneRowCommand


class Command(OneRowCommand):
    help = "Save the file of a task that is done, compressed as it is."
    rows = TaskRows
    routes = ("GET tasks/{key}/file",)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--output", help="where to; a file of the export's name if left out")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        task = self.find(options)
        path = Path(options["output"] or files.file_name(task))
        try:
            pieces = files.open_file(OPERATOR, task)
        except Http404 as error:
            raise ValidationError({"task": f"It is {task.state}, and has no file."}) from error
        try:
            with path.open("xb") as file:
                size = sum(file.write(piece) for piece in pieces)
        except OSError as error:
            raise ValidationError(
                {"output": f"{str(path)!r} cannot be written: {error.strerror}."}
            ) from error
        return CommandResult({"path": str(path), "bytes": size}, f"{path} has {size} bytes.")
