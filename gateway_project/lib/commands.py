"""Share what our management commands have in common: one answer, as text or as one JSON object."""

from __future__ import annotations

import json
import re
import sys
from argparse import BooleanOptionalAction
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError

from gateway_project.lib.actor import Actor, acting
from gateway_project.lib.env import SettingError
from gateway_project.lib.errors import GatewayError
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.progress import ProgressLine, progress_for
from gateway_project.lib.sealing import SealError

T = TypeVar("T")
NOT_ALLOWED = "Nobody may do this to it, as it stands."
# Control characters but tabs and line ends, and those that turn the direction.
_COMMANDING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The outcome of a command. `ok=False` makes the exit code 1 although the command itself ran."""

    fields: Mapping[str, Any]
    text: str
    ok: bool = True


class AnsweringCommand(BaseCommand):
    """Prints `answer()`: its text or, with --json, its fields as the only output on stdout.

    Invalid input is a ValidationError in the domain code; here it becomes a CommandError that names the
    field. System checks are left to `make check` and `doctor`, because a command must answer fast.
    """

    requires_system_checks = ()
    # The routes of the management API that do the same, as `GET keys` (tests/structure compares).
    routes: ClassVar[tuple[str, ...]] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object and nothing else"
        )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        answer = self._name_errors(options)
        self.stdout.write(json.dumps(answer.fields) if options["json"] else inert(answer.text))
        if not answer.ok:
            sys.exit(1)

    def _name_errors(self, options: Mapping[str, Any]) -> CommandResult:
        try:
            with acting(actor_of(type(self))):
                return self.answer(options)
        except ValidationError as error:
            raise CommandError(inert(in_words(error))) from error
        except GatewayError as error:
            raise CommandError(inert(error.message)) from error
        except PermissionDenied as error:
            raise CommandError(inert(str(error)) or NOT_ALLOWED) from error
        except (SettingError, KeyringError, SealError) as error:
            raise CommandError(str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(unusable_database(error)) from error


def page(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of a list that has no further page, in the shape that every list has."""
    return {"data": list(rows), "next_cursor": None}


def unusable_database(error: Exception) -> str:
    """Return the sentence for a database that cannot be used: the first line says where and why."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
    return (
        f"The database cannot be used: {reason}. "
        "Run 'manage.py migrate' if it is new, or 'manage.py doctor' to see what is missing."
    )


def add_progress_option(parser: CommandParser) -> None:
    """Let people say whether they are told how far long work is."""
    parser.add_argument(
        "--progress",
        action=BooleanOptionalAction,
        default=None,
        help="tell on stderr how far it is; on a terminal unless told otherwise",
    )


def progress_of(options: Mapping[str, Any]) -> ProgressLine:
    """Return what tells how far a command is: nothing where nobody looks."""
    return progress_for(sys.stderr, options["progress"])


def inert(text: str) -> str:
    """Return text that tells a terminal nothing: names that clients and upstreams chose may hold what moves
    its cursor, sets its title, or turns the direction of writing.
    """
    return _COMMANDING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def actor_of(command: type[BaseCommand]) -> Actor:
    """Return a command as the one who acts."""
    name = command.__module__.rpartition(".")[2]
    return Actor("command", name, f"manage.py {name}")


def in_words(error: ValidationError) -> str:
    """Render a ValidationError as `field: message` sentences."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        " ".join(messages) if field == NON_FIELD_ERRORS else f"{field}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )


@contextmanager
def errors_of(field: str) -> Iterator[None]:
    """Attach a field name to ValidationErrors raised within the block."""
    try:
        yield
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error


@contextmanager
def errors_as(names: Mapping[str, str]) -> Iterator[None]:
    """Call fields by other names in ValidationErrors raised within the block: as the options are called."""
    try:
        yield
    except ValidationError as error:
        if not hasattr(error, "error_dict"):
            raise
        told = {names.get(name, name): found for name, found in error.error_dict.items()}
        raise ValidationError(told) from error


def parse_field(field: str, parse: Callable[[str], T], text: str) -> T:
    """Call `parse(text)` and turn its ValueError into a ValidationError that names the field."""
    try:
        return parse(text)
    except ValueError as error:
        raise ValidationError({field: str(error)}) from error
