"""What our management commands have in common: one answer, in words or as one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError

from gateway_project.lib.env import SettingError
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found or did. `ok` false makes the exit code 1 although the command itself ran."""

    fields: Mapping[str, Any]
    text: str
    ok: bool = True


class AnsweringCommand(BaseCommand):
    """Prints `answer()`: its text, or with --json its fields as the only thing on stdout.

    Wrong input is a ValidationError in the domain code; here it becomes a CommandError that names the
    field. System checks are left to `make check` and `doctor`, because a command must answer fast.
    """

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object, nothing else"
        )

    def answer(self, options: Mapping[str, Any]) -> Answer:
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> None:
        answer = self._translated(options)
        self.stdout.write(json.dumps(answer.fields) if options["json"] else answer.text)
        if not answer.ok:
            sys.exit(1)

    def _translated(self, options: Mapping[str, Any]) -> Answer:
        try:
            return self.answer(options)
        except ValidationError as error:
            raise CommandError(in_words(error)) from error
        except (SettingError, KeyringError, SealError) as error:
            raise CommandError(str(error)) from error
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(
                f"The database cannot be used: {str(error).strip()}. "
                "Run 'manage.py migrate' if it is new, or 'manage.py doctor' to see what is missing."
            ) from error


def in_words(error: ValidationError) -> str:
    """`field: what is wrong`, one after the other."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        " ".join(messages) if field == NON_FIELD_ERRORS else f"{field}: {' '.join(messages)}"
        for field, messages in error.message_dict.items()
    )


@contextmanager
def errors_of(field: str) -> Iterator[None]:
    """Name the field in ValidationErrors raised within."""
    try:
        yield
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error


def parsed(field: str, parse: Callable[[str], T], text: str) -> T:
    """`parse(text)`, its ValueError turned into one that names the field."""
    try:
        return parse(text)
    except ValueError as error:
        raise ValidationError({field: str(error)}) from error
