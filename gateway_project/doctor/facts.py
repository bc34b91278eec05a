"""Read, by one statement, the rows that the checks of `doctor` and the report on the system are about.

Of what may be many, only those are read that a check has something to say about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q

from gateway_project.backup import record
from gateway_project.lib import clock
from routing import price_setting
from routing.models import Alias, Credential, Provider, Target
from tenants.heartbeats import ALIVE_FOR
from tenants.ledger import partitions
from tenants.models import (
    ApiKey,
    ApiToken,
    Budget,
    Heartbeat,
    KeyFingerprint,
    KeySecret,
    RetentionHorizon,
    SpoolPosition,
    Tenant,
)
from tenants.reports import owners, together
from tenants.reports.freshness import instant
from tenants.reports.owners import KeptOwner
from tenants.reports.together import SmallQuestion

MOST_TABLES = 12
Texts = tuple[Any, ...]  # texts, or None where the column is


@dataclass(frozen=True, slots=True)
class ProcessSign:
    """A process's last sign of life."""

    role: str
    host: str
    beat_at: datetime
    is_alive: bool


@dataclass(frozen=True, slots=True)
class SpoolRead:
    """Tells how far a spool was read, and when."""

    spool: str
    updated_at: datetime
    is_done: bool
    unread_bytes: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table's size on disk; rows are the database's own estimate, None where it has none."""

    name: str
    size_bytes: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Holds what the database says.

    `spools` are those that are open, or were read within the last minutes. Names of secrets' and tokens'
    peppers come with how many have each; `aliases` lead nowhere, with the platform's alias they are linked
    to; `bounds` are what `partitions.ordered` takes.
    """

    fingerprints: list[Texts]
    secrets: Mapping[str, int]
    tokens: Mapping[str, int]
    has_operator: bool
    budgets_with_mail: int
    processes: list[ProcessSign]
    spools: list[SpoolRead]
    horizons: list[tuple[str, datetime]]
    backup: datetime | None
    providers: int
    providers_without_credential: list[str]
    lent_providers: list[Texts]
    aliases: int
    aliases_to_nowhere: list[Texts]
    legacy_targets: list[Texts]
    uncharged: list[Texts]
    tenants: int
    tenants_without_key: list[str]
    kept_owners: list[KeptOwner]
    bounds: list[Texts]
    has_default_rows: bool
    database_bytes: int | None
    tables: list[StoredTable]


def read(now: datetime | None = None) -> Facts:
    """Read all of it as of now."""
    now = now or clock.now()
    asked = {**_of_processes(now), **_of_routing(), **_of_tenants(), **_of_postgres()}
    found: dict[str, list[Any]] = dict(zip(asked, together.ask(list(asked.values())), strict=True))
    return Facts(
        fingerprints=found["fingerprints"],
        secrets=_counted(found["secrets"]),
        tokens=_counted(found["tokens"]),
        has_operator=bool(found["operators"]),
        budgets_with_mail=_number(found["budgets"]),
        processes=sorted(_processes(found["processes"], now), key=lambda one: (one.role, one.host)),
        spools=[_spool(row) for row in found["spools"]],
        horizons=sorted((table, _at(before)) for table, before in found["horizons"]),
        backup=record.taken_at(found["backup"][0][0]) if found["backup"] else None,
        providers=_number(found["providers"]),
        providers_without_credential=[name for (name,) in _by_id(found["without_credential"])],
        lent_providers=_by_id(found["lent"]),
        aliases=_number(found["aliases"]),
        aliases_to_nowhere=_by_id(found["nowhere"]),
        legacy_targets=_by_id(found["legacy"]),
        uncharged=sorted(set(found["uncharged"]), key=lambda row: (row[0], row[1] or "")),
        tenants=_number(found["tenants"]),
        tenants_without_key=sorted(slug for (slug,) in found["without_key"]),
        kept_owners=[
            KeptOwner(int(tenant), slug, name, _at(since))
            for tenant, slug, name, since in found["kept"]
        ],
        bounds=found.get("bounds", []),
        has_default_rows=bool(found.get("default_rows")),
        database_bytes=_number(found["size"]) if "size" in found else None,
        tables=_tables(found.get("tables", [])),
    )


def _of_processes(now: datetime) -> dict[str, SmallQuestion]:
    recently = Q(is_done=False) | Q(updated_at__gte=now - timedelta(minutes=5))
    return {
        "processes": together.rows(Heartbeat.objects.all(), "role", "host", "beat_at"),
        "spools": together.rows(
            SpoolPosition.objects.filter(recently),
            *("spool", "updated_at", "is_done", "unread_bytes", "abandoned"),
        ),
        "horizons": together.rows(RetentionHorizon.objects.all(), "table", "before"),
        "backup": together.rows(record.newest(), "details"),
        "fingerprints": together.rows(KeyFingerprint.objects.all(), "kind", "key_id", "digest"),
    }


def _of_routing() -> dict[str, SmallQuestion]:
    usable = Credential.objects.filter(provider=OuterRef("pk"), enabled=True)
    providers = Provider.objects.filter(enabled=True)
    bare = providers.exclude(auth_kind="none").filter(~Exists(usable))
    lent = Credential.objects.filter(
        tenant__isnull=False, provider__tenant=None, enabled=True,
        provider__allow_private_network=True, provider__allow_tenant_credentials=True,
    ).exclude(provider__auth_kind="none")  # fmt: skip
    reached = Target.objects.filter(alias=OuterRef("pk"), provider_model__provider__enabled=True)
    aliases = Alias.objects.filter(enabled=True)
    nowhere = aliases.filter(
        Q(~Exists(reached), platform_alias=None) | Q(platform_alias__enabled=False)
    )
    legacy = Target.objects.filter(is_legacy=True)
    upstream = ("provider_model__provider__name", "provider_model__upstream_id")
    return {
        "providers": together.count(providers),
        "without_credential": together.rows(bare, "pk", "name"),
        "lent": together.rows(lent, "pk", "tenant__name", "provider__name"),
        "aliases": together.count(aliases),
        "nowhere": together.rows(nowhere, "pk", "name", "platform_alias__name"),
        "legacy": together.rows(legacy, "pk", "alias__tenant__slug", "alias__name", *upstream),
        "uncharged": together.rows(price_setting.uncharged(), "model", "tenant__slug"),
    }


def _of_tenants() -> dict[str, SmallQuestion]:
    counted = Count("pk")
    living = {"revoked_at": None}
    secrets = KeySecret.objects.filter(api_key__revoked_at=None).order_by().values("pepper_id")
    tokens = ApiToken.objects.filter(**living).order_by().values("pepper_id")
    operators = get_user_model().objects.filter(is_active=True, is_superuser=True)
    tenants = Tenant.objects.filter(deletion=None)
    keys = ApiKey.objects.filter(**living, tenant=OuterRef("pk"))
    return {
        "secrets": together.rows(secrets.annotate(number=counted), "pepper_id", "number"),
        "tokens": together.rows(tokens.annotate(number=counted), "pepper_id", "number"),
        "operators": together.rows(operators[:1], "pk"),
        "budgets": together.count(Budget.objects.exclude(alert_emails=[])),
        "tenants": together.count(tenants),
        "without_key": together.rows(tenants.filter(~Exists(keys)), "slug"),
        "kept": together.rows(owners.kept(), *owners.FIELDS),
    }


def _of_postgres() -> dict[str, SmallQuestion]:
    if connection.vendor != "postgresql":
        return {}
    # Partitions stand for themselves: a partitioned table has no size of its own.
    tables = (
        "SELECT relname, pg_total_relation_size(oid), reltuples::bigint FROM pg_class "  # noqa: S608
        "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace "
        f"ORDER BY 2 DESC, 1 LIMIT {MOST_TABLES}"
    )
    return {
        "bounds": SmallQuestion(partitions.BOUNDS_SQL, 2),
        "default_rows": SmallQuestion(partitions.OF_DEFAULT_SQL, 1),
        "size": SmallQuestion("SELECT pg_database_size(current_database())", 1),
        "tables": SmallQuestion(tables, 3),
    }


def _number(found: list[Texts]) -> int:
    return int(found[0][0])


def _counted(found: list[Texts]) -> dict[str, int]:
    return {name: int(number) for name, number in found}


def _by_id(found: list[Texts]) -> list[Texts]:
    """Return the rows in the order of their ids, without them."""
    return [row[1:] for row in sorted(found, key=lambda row: (len(row[0]), row[0]))]


def _at(text: str) -> datetime:
    at = instant(text)
    assert at is not None
    return at


def _processes(found: list[Texts], now: datetime) -> Iterable[ProcessSign]:
    for role, host, text in found:
        beat_at = _at(text)
        yield ProcessSign(role, host, beat_at, beat_at >= now - ALIVE_FOR)


def _spool(row: Texts) -> SpoolRead:
    spool, updated_at, is_done, unread, abandoned = row
    done = is_done in {"1", "true"}
    return SpoolRead(spool, _at(updated_at), done, int(unread), int(abandoned))


def _tables(found: list[Texts]) -> list[StoredTable]:
    numbers = [(name, int(size), int(rows)) for name, size, rows in found]
    ordered = sorted(numbers, key=lambda one: (-one[1], one[0]))
    return [StoredTable(name, size, rows if rows >= 0 else None) for name, size, rows in ordered]
