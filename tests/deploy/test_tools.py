"""Linters and validators over what is deployed, the chart rendered by Helm, the SBOM of a release.

`make check-deploy` installs the tools into var/deploy and runs this.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import CHART, DEPLOY, ROOT, SECONDS_BEYOND_THE_DRAIN, settings_named_in
from tests.plugins.cases import cases
from tests.test_docs import VARIABLES
from tests.test_lock_files import LOCKS

pytestmark = pytest.mark.deploy_tools

TOOLS = ROOT / "var" / "deploy" / "bin"
VALUES = Path(__file__).parent / "values"
RENDERED = ("least", "everything", "gateways-alone")
Manifest = dict[str, Any]
YAML_RULES = """
extends: default
rules:
  line-length: {max: 120}
  document-start: disable
  truthy: {check-keys: false}
"""


def need_tools() -> None:
    if not TOOLS.exists():
        pytest.skip("make check-deploy installs the tools")


def tool(name: str, *arguments: str | Path) -> str:
    """Run a tool and return what it prints, which is nothing where it finds nothing."""
    need_tools()
    ended = subprocess.run(
        [TOOLS / name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    return ended.stdout


def test_hadolint_finds_nothing_in_the_dockerfile():
    assert tool("hadolint", DEPLOY / "Dockerfile") == ""


def test_shellcheck_finds_nothing_in_the_scripts():
    scripts = [path for path in DEPLOY.iterdir() if is_shell(path)]

    assert DEPLOY / "compose-secrets" in scripts
    assert tool("shellcheck", *scripts) == ""


def is_shell(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash"))


def test_yamllint_finds_nothing():
    files = [DEPLOY / "compose.yaml", CHART / "Chart.yaml", CHART / "values.yaml"]

    assert tool("yamllint", "--strict", "-d", YAML_RULES, *files, VALUES) == ""


# The chart


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """Return what Helm makes of the chart with each of the files of values."""
    files = sorted(VALUES.glob("*.yaml"))
    said = tool("python", Path(__file__).parent / "tools" / "render.py", CHART, *files)
    return {Path(file).stem: answer for file, answer in json.loads(said).items()}


def manifests(answer: dict[str, Any], *kinds: str) -> list[Manifest]:
    return [it for it in answer["manifests"] if it["kind"] in kinds]


def every_container(pod: Manifest) -> list[Manifest]:
    return [*pod["containers"], *pod.get("initContainers", [])]


def containers_of(answer: dict[str, Any]) -> dict[str, tuple[Manifest, Manifest]]:
    """Return each container by its name, with its pod."""
    pods = [
        it["spec"]["template"]["spec"]
        for it in manifests(answer, "StatefulSet", "Deployment", "Job")
    ]
    return {
        container["name"]: (container, pod) for pod in pods for container in every_container(pod)
    }


@cases("name", RENDERED)
def test_helm_finds_nothing_but_that_there_is_no_icon(answers, name: str):
    assert [it["error"] for it in answers[name]["lint"]] == ["icon is recommended"]


@cases("name", RENDERED)
def test_each_manifest_is_valid_on_the_oldest_and_newest_kubernetes(answers, name: str):
    assert answers[name]["manifests"]
    assert answers[name]["invalid"] == []


def test_a_field_that_kubernetes_does_not_know_is_found(answers):
    assert any("nobody" in fault for fault in answers["wrong-peer"]["invalid"])


def test_without_the_secrets_name_nothing_is_rendered_and_helm_says_why(answers):
    assert "existingSecret" in answers["nothing"]["refused"]


@cases("name", RENDERED)
def test_each_container_is_without_rights(answers, name: str):
    found = containers_of(answers[name])

    assert "gateway" in found
    for container, pod in found.values():
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (
            True,
            10001,
        )
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False


@cases("name", RENDERED)
def test_each_container_has_settings_that_exist_and_secrets_as_files(answers, name: str):
    for container, pod in containers_of(answers[name]).values():
        variables = {it["name"]: it["value"] for it in container["env"]}
        assert len(variables) == len(container["env"])
        assert settings_named_in(*variables) - set(VARIABLES) == set()
        [secrets] = [it["secret"] for it in pod["volumes"] if it["name"] == "secrets"]
        files = {f"/run/secrets/tollgate/{it['path']}" for it in secrets["items"]}
        assert {value for key, value in variables.items() if key.endswith("_FILE")} == files


@cases("name", RENDERED)
def test_each_mount_has_its_volume(answers, name: str):
    for it in manifests(answers[name], "StatefulSet", "Deployment", "Job"):
        pod = it["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in it["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        assert claims == ({"data"} if it["kind"] == "StatefulSet" else set())
        for container in every_container(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@cases("name", RENDERED)
def test_pods_have_time_to_drain(answers, name: str):
    for it in manifests(answers[name], "StatefulSet"):
        pod = it["spec"]["template"]["spec"]
        [container] = pod["containers"]
        drain = next(
            int(v["value"]) for v in container["env"] if v["name"] == "TOLLGATE_DRAIN_SECONDS"
        )
        pause = int(
            container.get("lifecycle", {})
            .get("preStop", {})
            .get("exec", {})
            .get("command", [0])[-1]
        )
        assert pod["terminationGracePeriodSeconds"] >= pause + drain + SECONDS_BEYOND_THE_DRAIN


@cases("name", RENDERED)
def test_services_find_their_pods_and_nobody_elses(answers, name: str):
    answer = answers[name]
    pods = [it["spec"]["template"] for it in manifests(answer, "StatefulSet", "Deployment", "Job")]
    for service in manifests(answer, "Service"):
        wanted = service["spec"]["selector"].items()
        chosen = [pod for pod in pods if wanted <= pod["metadata"]["labels"].items()]
        assert len(chosen) == 1
        pod = chosen[0]["spec"]
        ports = [port for it in every_container(pod) for port in it.get("ports", [])]
        known = {port[of] for port in ports for of in ("name", "containerPort")}
        assert {port["targetPort"] for port in service["spec"].get("ports", [])} <= known
    for it in manifests(answer, "StatefulSet", "Deployment"):
        labels = it["spec"]["template"]["metadata"]["labels"]
        assert it["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_migrations_run_before_every_release_and_need_nothing_of_it(answers):
    [job] = manifests(answers["least"], "Job")

    assert job["metadata"]["name"] == "prod-tollgate-migrate-3"
    assert job["metadata"]["annotations"] == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert "serviceAccountName" not in pod
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} == {
        "secret",
        "emptyDir",
    }


def test_workers_have_an_ingester_that_ends_after_them(answers):
    pods = {
        it["metadata"]["name"]: it["spec"] for it in manifests(answers["everything"], "StatefulSet")
    }
    worker = pods["gateway-worker"]["template"]["spec"]

    ingest, metrics = worker["initContainers"]
    assert (ingest["args"], ingest["restartPolicy"]) == (["ingest"], "Always")
    assert (metrics["args"], metrics["restartPolicy"]) == (["serve_metrics"], "Always")
    assert ingest["volumeMounts"] == worker["containers"][0]["volumeMounts"]
    [beat] = manifests(answers["everything"], "Deployment")
    assert (beat["spec"]["replicas"], beat["spec"]["strategy"]) == (1, {"type": "Recreate"})


def test_gateways_alone_do_all_the_work_themselves(answers):
    found = containers_of(answers["gateways-alone"])

    assert set(found) == {"gateway"}
    variables = {it["name"]: it["value"] for it in found["gateway"][0]["env"]}
    assert variables["TOLLGATE_TASKS"] == "embedded"
    left_out = ("ServiceMonitor", "ServiceAccount", "Job", "PodDisruptionBudget")
    assert manifests(answers["gateways-alone"], *left_out) == []
    assert len(manifests(answers["least"], *left_out)) == 3


def test_a_digest_wins_and_a_number_of_replicas_is_left_to_autoscaling(answers):
    answer = answers["everything"]

    images = {container["image"] for container, _ in containers_of(answer).values()}
    assert images == {f"tollgate@sha256:{'0123456789abcdef' * 4}"}
    gateway = next(
        it for it in manifests(answer, "StatefulSet") if "worker" not in it["metadata"]["name"]
    )
    assert "replicas" not in gateway["spec"]
    [scaler] = manifests(answer, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == gateway["metadata"]["name"]


def test_the_ingress_lets_streams_flow_and_long_answers_come(answers):
    [ingress] = manifests(answers["everything"], "Ingress")

    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"
    [rule] = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    services = {it["metadata"]["name"] for it in manifests(answers["everything"], "Service")}
    assert backend["name"] in services


def test_only_the_monitoring_reaches_metrics_and_nobody_reaches_more_of_workers(answers):
    found = manifests(answers["everything"], "NetworkPolicy")
    policies = {it["metadata"]["name"]: it["spec"] for it in found}

    http, metrics = policies["gateway-gateway"]["ingress"]
    [of_workers] = policies["gateway-background"]["ingress"]
    assert (http["ports"][0]["port"], metrics["ports"][0]["port"]) == ("http", "metrics")
    assert of_workers["ports"] == [{"port": 9464, "protocol": "TCP"}]
    assert "monitoring" in str(metrics["from"])
    assert of_workers["from"] == metrics["from"]
    assert policies["gateway-gateway"]["policyTypes"] == ["Ingress", "Egress"]
    [alone] = manifests(answers["gateways-alone"], "NetworkPolicy")
    assert len(alone["spec"]["ingress"]) == 1


def test_the_service_monitor_finds_the_metrics_of_gateways_and_workers(answers):
    answer = answers["everything"]
    [monitor] = manifests(answer, "ServiceMonitor")

    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    found = [
        it for it in manifests(answer, "Service") if wanted <= it["metadata"]["labels"].items()
    ]
    assert {it["metadata"]["name"] for it in found} == {"gateway-gateway", "gateway-worker"}
    [endpoint] = monitor["spec"]["endpoints"]
    for service in found:
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["authorization"]["credentials"]["key"] == "TOLLGATE_METRICS_TOKEN"
    variables = {it["name"]: it["value"] for it in containers_of(answer)["metrics"][0]["env"]}
    assert (variables["TOLLGATE_METRICS_PORT"], variables["TOLLGATE_METRICS_HOST"]) == (
        "9464",
        "0.0.0.0",
    )


# The SBOM


def test_the_sbom_has_every_pin_with_its_hashes(tmp_path: Path):
    file = tmp_path / "sbom.json"
    need_tools()
    subprocess.run(["make", "sbom", f"SBOM={file}"], cwd=ROOT, check=True, capture_output=True)

    found = json.loads(file.read_text())

    assert (found["bomFormat"], found["metadata"]["component"]["name"]) == ("CycloneDX", "tollgate")
    parts = {f"{it['name']}=={it['version']}" for it in found["components"]}
    pins = set(re.findall(r"(?m)^([a-z0-9-]+==[^\s;]+)", LOCKS["base"].read_text()))
    assert parts == pins
    assert all(it["externalReferences"][0]["hashes"] for it in found["components"])
