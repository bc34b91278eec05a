"""Ask before a command takes something away; who is not at a terminal says so with --yes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

YES = {"y", "yes"}


def add_yes_option(parser: CommandParser) -> None:
    parser.add_argument(
        "--yes", action="store_true", help="do not ask; needed where nobody is at a terminal"
    )


def confirm(deed: str, options: Mapping[str, Any]) -> None:
    """Ask whether `deed` is meant, unless --yes says so. Raise ValidationError if it is not, or if nobody can
    answer.
    """
    if options["yes"]:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ValidationError(f"This would {deed}. Say --yes to do it.")
    sys.stderr.write(f"This will {deed}. Do it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in YES:
        raise ValidationError("Nothing was done.")
