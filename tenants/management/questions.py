"""Make commands of what the management API is asked beside rows: reports, figures, logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from django.core.management.base import CommandParser

from gateway_project.lib import command_text
from gateway_project.lib.commands import AnsweringCommand, CommandResult, errors_of
from tenants import directory
from tenants.access.access import OPERATOR, Access
from tenants.managed import naming, typed
from tenants.management.row_words import flat, in_words, plain, told_in_lines

TOLD = {
    "cursor": "go on after a page: its next_cursor",
    "since": "from then on: an instant, a date (UTC), or so long ago: 24h",
    "until": "before then: an instant, a date (UTC), or so long ago: 24h",
    "tenant": "only this tenant's: its slug or name",
    "key": "only those of this key: its public id",
    "words": "only those whose names have these words",
    "group_by": "what a group is",
}
INSTANTS = {"since", "until", "start", "end"}


class AskedView(Protocol):
    """A view of the management API that answers without a request."""

    asked: ClassVar[dict[str, dict[str, Any]]]

    def told(self, who: Access, given: Mapping[str, str]) -> dict[str, Any]: ...


class AskCommand(AnsweringCommand):
    """Asks what a view of the API answers, with its parameters as options."""

    view: ClassVar[type[Any]]  # an AskedView
    columns: ClassVar[tuple[str, ...]] = ()  # of the table that people see
    for_programs: ClassVar[tuple[str, ...]] = ()  # what is too long for people

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        for name, schema in self.view.asked.items():
            told = TOLD.get("since" if name == "start" else "until" if name == "end" else name)
            choices = schema.get("enum")
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                dest=name,
                choices=choices,
                metavar=None if choices else name.upper(),
                help=_bounds(schema) or told or f"only those of this {name.replace('_', ' ')}",
            )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        given = {name: options[name] for name in self.view.asked if options[name] is not None}
        if "tenant" in given:
            given["tenant"] = str(directory.tenant(given["tenant"]).pk)
        for name in INSTANTS & given.keys():
            with errors_of(name):
                given[name] = typed.instant(given[name], is_past=True).isoformat()
        view: AskedView = self.view()
        told = plain(view.told(OPERATOR, given))
        if not self.columns:
            people = {name: value for name, value in told.items() if name not in self.for_programs}
            return CommandResult(told, told_in_lines(people))
        names = naming.names_of_ids(told["data"])
        told["data"] = [{**row, "names": n} for row, n in zip(told["data"], names, strict=True)]
        text = command_text.table(self.columns, [in_words(flat(row)) for row in told["data"]])
        more = ""
        if cursor := told.get("next_cursor"):
            more = f"\nThere are more: --cursor {cursor}"
        elif told.get("has_more"):
            more = "\nThere are more than are shown."
        return CommandResult(told, f"{text}{more}" if told["data"] else "There is nothing.")


def _bounds(schema: Mapping[str, Any]) -> str:
    """Return how many may be asked for; empty where the schema sets no bounds."""
    if "maximum" not in schema:
        return ""
    return f"at most so many, {schema['minimum']} to {schema['maximum']}; {schema['default']} by default"
