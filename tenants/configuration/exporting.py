"""Write what a database holds as the file that would make it so; what no file can say becomes a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway_project.lib.env import CREDENTIAL_PREFIX
from tenants.access.access import Access
from tenants.configuration.fields import SecretReferenceField, same
from tenants.configuration.kinds import ConfigurationKind, kinds_of
from tenants.configuration.secrets import NoSecrets
from tenants.configuration.section import FileSection
from tenants.configuration.tables import TENANTS
from tenants.managed.resource import resource_of
from tenants.models import Tenant

HEAD = """\
# Tollgate's configuration, written by export_config and read by apply (docs/configuration.md).
# Fields that are as in a new object are left out. Secrets stand in variables of the environment.
"""


def export(who: Access, tenant: Tenant | None = None) -> str:
    """Return the platform and all tenants, or one tenant, as a file of configuration."""
    exporter = _Exporter(who)
    lines = [HEAD.rstrip()]
    if tenant is None:
        body = list(exporter.sections(FileSection(who, None, NoSecrets()), "  "))
        lines += ["platform:", *body] if _has_objects(body) else body
    lines += exporter.tenants(tenant)
    if not _has_objects(lines):
        lines.append("{}")
    return "\n".join(lines) + "\n"


def _has_objects(lines: Iterable[str]) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


@dataclass(slots=True)
class _Exporter:
    who: Access
    variables: set[str] = field(default_factory=set)

    def tenants(self, only: Tenant | None) -> Iterator[str]:
        scope = FileSection(self.who, None, NoSecrets())
        rows = TENANTS.rows(scope)
        rows = rows if only is None else rows.filter(pk=only.pk)
        for index, row in enumerate(rows):
            if not index:
                yield "tenants:"
            yield from self.object(TENANTS, row, scope, "  ")
            yield from self.sections(FileSection(self.who, row, NoSecrets()), "    ")

    def sections(self, scope: FileSection, indent: str) -> Iterator[str]:
        for kind in kinds_of(scope):
            yield from self.section(kind, scope.fresh(), indent)

    def section(self, kind: ConfigurationKind, scope: FileSection, indent: str) -> Iterator[str]:
        if not resource_of(kind.model).may(self.who, "view", None):
            return
        found: dict[str, list[Any]] = {}
        for row in kind.rows(scope):
            found.setdefault(json.dumps(kind.identity_of(row, scope)), []).append(row)
        lines: list[str] = []
        for identity in sorted(found):
            lines += self._rows(kind, scope, found[identity], indent + "  ")
        if _has_objects(lines):
            yield f"{indent}{kind.section}:"
        yield from lines
        yield from (_comment(indent, f"{kind.section}: {each}") for each in kind.notes(scope))

    def _rows(
        self, kind: ConfigurationKind, scope: FileSection, rows: list[Any], indent: str
    ) -> Iterator[str]:
        problem = kind.reason_not_to_export(rows[0], scope)
        if len(rows) > 1:
            problem = f"there are {len(rows)} of that name; rename all but one"
        if problem:
            name = " ".join(str(each) for each in kind.identity_of(rows[0], scope) if each)
            yield _comment(indent, f"{kind.section} {json.dumps(name)} is left out: {problem}")
        else:
            yield from self.object(kind, rows[0], scope, indent)

    def object(
        self, kind: ConfigurationKind, row: Any, scope: FileSection, indent: str
    ) -> Iterator[str]:
        start = "- "
        for name, value in self.values(kind, row, scope):
            yield f"{indent}{start}{name}: {yaml_of(value)}"
            start = "  "

    def values(
        self, kind: ConfigurationKind, row: Any, scope: FileSection
    ) -> Iterator[tuple[str, Any]]:
        for name, each in kind.all_fields.items():
            if isinstance(each, SecretReferenceField):
                if not kind.reference(row):
                    continue
                yield name, {"env": self.variable(kind.reference(row))}
                continue
            value = each.show(row, scope)
            is_needed = each.is_written or each.is_needed
            if is_needed or not same(value, each.usual(kind.model)):
                yield name, value

    def variable(self, reference: str) -> str:
        """Return the name of a variable that no other secret of this file has."""
        name = CREDENTIAL_PREFIX + re.sub(r"[^A-Z0-9]+", "_", reference.upper()).strip("_")
        name = f"{name}_" if name.endswith("_FILE") else name  # another one's file, by its name
        number, free = 1, name
        while free in self.variables:
            number += 1
            free = f"{name}_{number}"
        self.variables.add(free)
        return free


class _Dumper(yaml.SafeDumper):
    """Writes texts on one line, whatever is in them."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def yaml_of(value: Any) -> str:
    """Return a value as one line of YAML."""
    dumped = yaml.dump(
        [value],
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=2**31,
    )
    return str(dumped).strip()[1:-1]


def _comment(indent: str, text: str) -> str:
    return f"{indent}# {text if text.isprintable() else json.dumps(text)}"
