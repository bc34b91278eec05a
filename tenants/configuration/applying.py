"""Make the database like a file: in one transaction, and only where it differs.

A dry run does the same and takes it back, so that it tells what would really happen, refusals included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError

from gateway_project.lib.db import durable_transaction
from tenants.access.access import Access
from tenants.configuration import checking, marks, places
from tenants.configuration.fields import LeftAlone
from tenants.configuration.kinds import ConfigurationKind, Normal, kinds_of
from tenants.configuration.plan import ChangePlan, Difference
from tenants.configuration.secrets import SecretSource
from tenants.configuration.section import FileSection
from tenants.configuration.tables import TENANTS
from tenants.revision import Revision

Json = dict[str, Any]


class _TakenBack(Exception):
    """End a transaction that is not to be saved."""


def apply(
    who: Access,
    document: Mapping[str, Any],
    secrets: SecretSource,
    *,
    prune: bool = False,
    dry_run: bool = False,
) -> ChangePlan:
    """Make the database like the document. Raise ValidationError by places in it; then nothing is changed.

    `prune` removes what `apply` made before and the document's sections no longer name.
    """
    checking.check(dict(document))
    run = _Run(who, secrets, prune=prune)
    try:
        with durable_transaction():
            # One at a time: two could otherwise both make what neither found.
            Revision.objects.select_for_update().filter(id=1).first()
            run.document(document)
            if dry_run:
                raise _TakenBack
    except _TakenBack:
        pass
    return run.plan


@dataclass(frozen=True, slots=True)
class _Section:
    """One section of the file that was read, and the rows it names."""

    kind: ConfigurationKind
    scope: FileSection
    named: set[Any] = field(default_factory=set)


@dataclass(slots=True)
class _Run:
    who: Access
    secrets: SecretSource
    prune: bool
    plan: ChangePlan = field(default_factory=ChangePlan)
    sections: list[_Section] = field(default_factory=list)

    def document(self, document: Mapping[str, Any]) -> None:
        platform = FileSection(self.who, None, self.secrets)
        if document.get("platform"):
            if not self.who.is_operator:
                raise ValidationError({"platform": places.FORBIDDEN})
            self.part(platform, document["platform"], "platform")
        for place, found, row in self.tenants(platform, document.get("tenants", [])):
            self.part(FileSection(self.who, row, self.secrets), found, place)
        for section in reversed(self.sections):
            self.forget(section)

    def tenants(self, platform: FileSection, found: list[Json]) -> list[tuple[str, Json, Any]]:
        names = TENANTS.all_fields
        objects = [{name: each[name] for name in each if name in names} for each in found]
        rows = self.section(_Section(TENANTS, platform), objects, "tenants")
        places_of = (f"tenants[{index}]" for index in range(len(found)))
        return list(zip(places_of, found, rows, strict=True))

    def part(self, scope: FileSection, found: Mapping[str, Any], place: str) -> None:
        for kind in kinds_of(scope):
            if kind.section in found:
                section = _Section(kind, scope.fresh())
                self.section(section, found[kind.section], f"{place}.{kind.section}")
                self.sections.append(section)

    def section(self, section: _Section, objects: list[Json], place: str) -> list[Any]:
        """Write a section's objects; return their rows, None for those that are left alone."""
        present = _by_identity(section)
        places_of: dict[str, str] = {}
        rows = []
        for index, each in enumerate(objects):
            where = f"{place}[{index}]"
            with places.errors_at(where, section.kind.names_of_columns):
                try:
                    rows.append(self.object(section, each, where, present, places_of))
                except LeftAlone as reason:
                    self.plan.warnings.append(f"{where} is left as it is: {reason}.")
                    rows.append(None)
        return rows

    def object(
        self,
        section: _Section,
        found: Json,
        place: str,
        present: dict[str, list[Any]],
        places_of: dict[str, str],
    ) -> Any:
        kind, scope = section.kind, section.scope
        values = _read(kind, scope, found, place)
        identity = tuple(values[each.name] for each in kind.identity)
        key = json.dumps(identity)
        if key in places_of:
            raise ValidationError(f"This is the same object as {places_of[key]}.")
        places_of[key] = place
        rows = present.get(key, [])
        if len(rows) > 1:
            raise ValidationError(f"{len(rows)} of that name exist: rename all but one.")
        row = (
            self.changed(section, rows[0], values, place)
            if rows
            else self.created(section, values, place)
        )
        section.named.add(row.pk)
        self.plan.warnings += [f"{place}: {each}" for each in kind.warnings(values, row)]
        return row

    def created(self, section: _Section, values: Normal, place: str) -> Any:
        kind, scope = section.kind, section.scope
        kind.check_missing(tuple(values[each.name] for each in kind.identity), scope)
        values = kind.complete(values)
        row, secret = kind.create(scope, values)
        if kind.is_prunable:
            marks.add(kind, row)
        changes = {
            name: (None, kind.all_fields[name].told(value))
            for name, value in values.items()
            if kind.all_fields[name] not in kind.identity
        }
        told = _difference("created", section, kind.identity_of(row, scope), place)
        row_id = str(getattr(row, "public_id", ""))
        self._add(told, changes=changes, row_id=row_id, secret=secret)
        return row

    def changed(self, section: _Section, row: Any, values: Normal, place: str) -> Any:
        kind, scope = section.kind, section.scope
        fields = {each.name: each for each in kind.fields if each.name in values}
        different = {
            name: values[name]
            for name, each in fields.items()
            if each.differs(values[name], row, scope)
        }
        if not different:
            self.plan.unchanged += 1
            return row
        changes = {
            name: (fields[name].show(row, scope), fields[name].told(value))
            for name, value in different.items()
        }
        told = _difference("changed", section, kind.identity_of(row, scope), place)
        kind.change(scope, row, different)
        self._add(told, changes=changes)
        row.refresh_from_db()
        return row

    def forget(self, section: _Section) -> None:
        """Remove, or only list, what apply made and this section does not name."""
        kind, scope = section.kind, section.scope
        for row in marks.rows_made(kind, kind.rows(scope)):
            if row.pk in section.named:
                continue
            identity = kind.identity_of(row, scope)
            if not self.prune:
                self._add(_difference("leftover", section, identity), reason="not in the file")
            elif reason := marks.reason_to_keep(kind, row):
                self._add(_difference("kept", section, identity), reason=reason)
            else:
                self._remove(section, row, identity)

    def _remove(self, section: _Section, row: Any, identity: tuple[Any, ...]) -> None:
        told, pk = _difference("removed", section, identity), row.pk
        try:
            section.kind.remove(section.scope, row)
        except ValidationError as error:  # something uses it
            self._add(told, action="kept", reason=" ".join(error.messages))
        except PermissionDenied:
            self._add(told, action="kept", reason=places.FORBIDDEN)
        else:
            marks.drop(section.kind, pk)
            self._add(told)

    def _add(self, told: Difference, **more: Any) -> None:
        self.plan.differences.append(replace(told, **more))


def _by_identity(section: _Section) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in section.kind.rows(section.scope):
        key = json.dumps(section.kind.identity_of(row, section.scope))
        found.setdefault(key, []).append(row)
    return found


def _read(kind: ConfigurationKind, scope: FileSection, found: Json, place: str) -> dict[str, Any]:
    """Return normal forms: of every part of the identity, and of the fields that the file names."""
    values: dict[str, Any] = {}
    for name, each in kind.all_fields.items():
        if name in found:
            with places.errors_at(places.join(place, name)):
                values[name] = each.read(found[name], scope)
        elif each in kind.identity:
            values[name] = each.usual(kind.model)
    return values


def _difference(
    action: Any, section: _Section, identity: tuple[Any, ...], place: str = ""
) -> Difference:
    owner = "platform" if section.scope.tenant is None else section.scope.tenant.slug
    name = " ".join(str(each) for each in identity if each not in {None, ""})
    return Difference(action, place, owner, section.kind.section, name)
