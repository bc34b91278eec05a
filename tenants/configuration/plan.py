"""Hold what applying a file does, and tell it as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway_project.lib.secret import Secret

Json = dict[str, Any]
Action = Literal["created", "changed", "removed", "kept", "leftover"]
_SIGNS: dict[Action, str] = {
    "created": "+",
    "changed": "~",
    "removed": "-",
    "kept": "=",
    "leftover": "?",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is made, changed or removed. `changes`: fields, from what and to what.

    `place` is where it stands in the file, empty for what is not in it. Kept and leftover are what apply once
    made and the file no longer names: kept in spite of --prune, or for want of it.
    """

    action: Action
    place: str
    owner: str  # the tenant's slug, or "platform"
    section: str
    name: str
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    reason: str = ""
    row_id: str = ""
    secret: Secret | None = None

    def as_json(self, *, is_saved: bool, with_secrets: bool) -> Json:
        found: Json = {
            "action": self.action,
            "place": self.place or None,
            "owner": self.owner,
            "section": self.section,
            "name": self.name,
            "changes": {name: {"from": a, "to": b} for name, (a, b) in self.changes.items()},
        }
        if self.reason:
            found["reason"] = self.reason
        if self.row_id and is_saved:
            found["id"] = self.row_id
        if with_secrets and self.secret is not None:
            found["secret"] = self.secret.reveal()
        return found

    def in_words(self, *, with_secrets: bool) -> str:
        head = f"{_SIGNS[self.action]} {self.owner} {self.section} {_said(self.name)}"
        if self.reason:
            return f"{head}: {self.reason}"
        lines = [head, *(self._change_in_words(name) for name in self.changes)]
        if with_secrets and self.secret is not None:
            lines.append(f"    secret, shown only once: {self.secret.reveal()}")
        return "\n".join(lines)

    def _change_in_words(self, name: str) -> str:
        before, after = (_said(value) for value in self.changes[name])
        told = after if self.action == "created" else f"{before} → {after}"
        return f"    {name}: {told}"


@dataclass(slots=True)
class ChangePlan:
    """All that applying a file does, or did."""

    differences: list[Difference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unchanged: int = 0

    def count(self, action: Action) -> int:
        return sum(each.action == action for each in self.differences)

    @property
    def changes_something(self) -> bool:
        return any(each.action in {"created", "changed", "removed"} for each in self.differences)

    def as_json(self, *, dry_run: bool, with_secrets: bool = False) -> Json:
        return {
            "dry_run": dry_run,
            **{action: self.count(action) for action in _SIGNS},
            "unchanged": self.unchanged,
            "differences": [
                each.as_json(is_saved=not dry_run, with_secrets=with_secrets)
                for each in self.differences
            ],
            "warnings": self.warnings,
        }

    def in_words(self, *, dry_run: bool, with_secrets: bool = False) -> str:
        lines = [each.in_words(with_secrets=with_secrets) for each in self.differences]
        lines += [f"Warning: {warning}" for warning in self.warnings]
        counts = [f"{self.count(name)} {name}" for name in _SIGNS if self.count(name)]
        lines.append(f"{', '.join([*counts, f'{self.unchanged} unchanged'])}.")
        if self.count("leftover"):
            lines.append(
                "Objects marked ? were made by apply and are not in the file: see --prune."
            )
        if dry_run:
            lines.append("Nothing was saved (--dry-run).")
        return "\n".join(lines)


def _said(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)
