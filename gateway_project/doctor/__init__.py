"""Report what is configured and what is missing, in sentences a person can act on."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _

from gateway_project.doctor import database, facts, host, keys, rows, services, web
from gateway_project.doctor.facts import Facts
from gateway_project.doctor.findings import Finding, Findings

BASIC_CHECKS: tuple[Callable[[], Findings], ...] = (
    host.check_versions,
    keys.check_keyrings,
    host.check_data_directory,
    web.check_web_settings,
    web.check_origins,
    web.check_public_url,
    host.check_variables,
    services.check_redis,
    services.check_traces,
    services.check_tasks,
    services.check_metrics,
    database.check_database,
)
# These read what only they need: sealed secrets, and links of every kind.
READING_CHECKS = (keys.check_credentials, keys.check_webhooks, database.check_stray_links)
FACT_CHECKS: tuple[Callable[[Facts], Findings], ...] = (
    keys.check_key_fingerprints,
    services.check_processes,
    rows.check_console,
    host.check_spools,
    database.check_partitions,
    database.check_backups,
    rows.check_providers,
    rows.check_aliases,
    rows.check_tenants,
)


def examine(known: Facts | None = None) -> list[Finding]:
    """Run every check; those that read rows run only if the tables can be read. `known` are those that were
    read already."""
    findings = [finding for check in BASIC_CHECKS for finding in check()]
    if any(f.level == "broken" and f.subject in {"database", "migrations"} for f in findings):
        message = _("not checked until the database works")
        return [*findings, Finding("hint", "configuration", message)]
    known = known or facts.read()
    findings += [finding for check in FACT_CHECKS for finding in check(known)]
    return findings + [finding for check in READING_CHECKS for finding in check()]


def is_sound(findings: list[Finding]) -> bool:
    return all(finding.level != "broken" for finding in findings)
