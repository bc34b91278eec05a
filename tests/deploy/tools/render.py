"""Lint and render a chart with Helm's own code: render.py CHART VALUES [VALUES …]; prints JSON.

Run by the Python of var/deploy, which has what is imported here.
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

VERSIONS = ("1.29", kubernetes_validate.latest_version())
# Kinds that clusters learn from others: no schema of theirs is in Kubernetes.
NO_SCHEMA = ("ServiceMonitor",)


def rendered(chart: str, values: dict[str, object]) -> dict[str, object]:
    found = helm_python.Chart.load(chart).render(
        values, name="prod", namespace="ai", revision=3, is_upgrade=True
    )
    notes = [text for name, text in found.items() if name.endswith("NOTES.txt")]
    texts = [text for name, text in found.items() if not name.endswith("NOTES.txt")]
    manifests = [it for text in texts for it in yaml.safe_load_all(text) if it]
    return {
        "lint": helm_python.lint(chart, values, strict=True)["messages"],
        "notes": "".join(notes),
        "manifests": manifests,
        "invalid": [fault for it in manifests for fault in faults(it)],
    }


def faults(manifest: dict[str, object]) -> list[str]:
    """Return what the schemas of the oldest and the newest Kubernetes say against a manifest."""
    if manifest["kind"] in NO_SCHEMA:
        return []
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except Exception as error:
            found.append(f"{manifest['kind']} on {version}: {error}")
    return found


def main() -> None:
    chart, *files = sys.argv[1:]
    answer = {}
    for file in files:
        with open(file) as text:
            values = helm_python.values_from_yaml(text.read())
        try:
            answer[file] = rendered(chart, values)
        except helm_python.HelmError as error:
            answer[file] = {"refused": str(error)}
    json.dump(answer, sys.stdout)


main()
