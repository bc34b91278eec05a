"""Say what a check found, in a sentence about one subject."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

Level = Literal["ok", "hint", "broken"]
MARKS: dict[Level, str] = {"ok": "ok    ", "hint": "hint  ", "broken": "BROKEN"}

# What findings are about, for makemessages; names of files, providers and the like stay as they are.
SUBJECTS = (
    gettext_noop("aliases"),
    gettext_noop("allowed hosts"),
    gettext_noop("backup"),
    gettext_noop("configuration"),
    gettext_noop("console"),
    gettext_noop("credentials"),
    gettext_noop("damaged spools"),
    gettext_noop("data directory"),
    gettext_noop("database"),
    gettext_noop("debug"),
    gettext_noop("isolation"),
    gettext_noop("key files"),
    gettext_noop("key peppers"),
    gettext_noop("key-encryption keys"),
    gettext_noop("mail"),
    gettext_noop("metrics"),
    gettext_noop("migrations"),
    gettext_noop("partitions"),
    gettext_noop("processes"),
    gettext_noop("providers"),
    gettext_noop("set aside"),
    gettext_noop("settings"),
    gettext_noop("spools"),
    gettext_noop("tasks"),
    gettext_noop("tenants"),
    gettext_noop("traces"),
    gettext_noop("triggers"),
    gettext_noop("trusted origins"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about one subject. Only `broken` makes the check fail."""

    level: Level
    subject: str
    message: str

    @property
    def title(self) -> str:
        """Return the subject in the reader's language; programs go by `subject`."""
        return _(self.subject)

    def __str__(self) -> str:
        return f"{MARKS[self.level]}  {self.subject}: {self.message}"


Findings = Iterator[Finding]
