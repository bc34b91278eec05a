"""Dashboard, alert rules and documentation name metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gateway_project.lib.metrics import reference
from gateway_project.lib.metrics.names import FAMILIES, Family

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "deploy" / "grafana" / "tollgate.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
PAGE = ROOT / "docs" / "observability.md"

BY_NAME = {family.name: family for family in FAMILIES}
# Labels that Prometheus adds.
OF_PROMETHEUS = {"instance", "job"}
_SELECTOR = re.compile(r"\b((?:tollgate|gen_ai)_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def family_of(name: str) -> tuple[Family | None, set[str]]:
    """Return the family of a series, and the labels it has beside those of the family."""
    if (family := BY_NAME.get(name)) is not None:
        return (None if family.kind == "histogram" else family), set()
    found = BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", name))
    if found is None or found.kind != "histogram":
        return None, set()
    return found, {"le"} if name.endswith("_bucket") else set()


def faults(expression: str) -> Iterator[str]:
    """Find what an expression names that there is not."""
    known = set(OF_PROMETHEUS)
    for name, selected in _SELECTOR.findall(expression):
        family, more = family_of(name)
        if family is None:
            yield f"{name} in {expression!r}"
            continue
        labels = {*family.all_labels, *more, *OF_PROMETHEUS}
        known |= labels
        yield from (
            f"{name} has no label {label}"
            for label in _LABEL.findall(selected)
            if label not in labels
        )
    grouped = {label.strip() for text in _GROUPED.findall(expression) for label in text.split(",")}
    yield from (f"no label {label} in {expression!r}" for label in sorted(grouped - known - {""}))


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    asked = json.loads(DASHBOARD.read_text())["templating"]["list"]
    variables = [each["definition"] for each in asked if each["type"] == "query"]
    of_panels = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [*of_panels, *(str(rule["expr"]) for rule in rules()), *variables]


def test_every_metric_and_label_that_is_asked_for_is_there() -> None:
    assert len(expressions()) > 40
    assert [fault for each in expressions() for fault in faults(each)] == []


def test_faults_are_found() -> None:
    assert list(faults("rate(tollgate_request_total[5m])"))
    assert list(faults('tollgate_in_flight{alias="x"}'))
    assert list(faults("sum by (tenant) (tollgate_in_flight)"))
    assert list(faults("tollgate_request_seconds"))


def test_texts_of_alerts_name_labels_that_their_expression_leaves() -> None:
    for rule in rules():
        text = json.dumps(rule["annotations"])
        named = set(re.findall(r"\$labels\.(\w+)", text))
        grouped = _GROUPED.findall(str(rule["expr"]))
        left = {label.strip() for each in grouped for label in each.split(",")}
        if not grouped:
            families = [family_of(name)[0] for name, _ in _SELECTOR.findall(str(rule["expr"]))]
            left = {label for each in families if each for label in each.all_labels} | OF_PROMETHEUS
        assert named <= left, rule["alert"]


def test_panels_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]


def test_the_documentation_has_the_table_of_names() -> None:
    assert reference.table() in PAGE.read_text(), (
        "python -m gateway_project.lib.metrics.reference prints it"
    )
