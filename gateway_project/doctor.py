"""What is configured and what is missing, in words a person can act on."""

from __future__ import annotations

import re
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection
from django.db.models import Exists, OuterRef, Q

from gateway_project import migrating
from gateway_project.lib import clock
from gateway_project.lib.hosts import AllowedHosts
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError, key_id_of
from responses_api import peers
from responses_api.models import WebhookEndpoint
from responses_api.webhooks import endpoints
from routing import credentials, price_setting
from routing.models import Alias, Credential, Provider, Target
from tenants import fingerprints, heartbeats, peppers, triggers
from tenants.ledger import archive, ingest, set_aside, spool
from tenants.models import ApiKey, Budget, KeySecret, SpoolPosition, Tenant

Level = Literal["ok", "hint", "broken"]
REDIS_SECONDS = 2.0
UNREAD_AFTER = timedelta(minutes=1)  # many times longer than an ingester lets a spool be
MARKS: dict[Level, str] = {"ok": "ok    ", "hint": "hint  ", "broken": "BROKEN"}

# Below these, known holes are open: Django CVE-2025-14550 and CVE-2026-5766, Daphne CVE-2026-44545 and
# CVE-2026-44546; httptools' floor is the release our client was tested with.
VERSION_FLOORS = {"django": (5, 2, 14), "daphne": (4, 2, 2), "httptools": (0, 6, 4)}
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
SECRET_FILES = ("secret_key", "key_peppers", "key_encryption_keys", "quickstart.json")


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one subject. Only `broken` makes the check fail."""

    level: Level
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{MARKS[self.level]}  {self.subject}: {self.message}"


Findings = Iterator[Finding]


def examine() -> list[Finding]:
    """Every check; those that read rows only if the tables can be read."""
    findings = [finding for check in BASIC_CHECKS for finding in check()]
    if any(f.level == "broken" and f.subject in {"database", "migrations"} for f in findings):
        message = "not looked at until the database is in order"
        return [*findings, Finding("hint", "configuration", message)]
    return findings + [finding for check in ROW_CHECKS for finding in check()]


def is_sound(findings: list[Finding]) -> bool:
    return all(finding.level != "broken" for finding in findings)


def _data_directory() -> Findings:
    directory: Path = settings.DATA_DIR
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077:
        message = f"others may look into it (mode {mode:04o}); run chmod 700 {directory}"
        yield Finding("hint", "data directory", message)
    else:
        yield Finding("ok", "data directory", str(directory))
    for name in SECRET_FILES:
        file = directory / name
        if file.exists():
            yield _secret_file(file)


def _secret_file(file: Path) -> Finding:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        message = f"others may read it (mode {mode:04o}); run chmod 600 {file}"
        return Finding("broken", file.name, message)
    return Finding("ok", file.name, f"only its owner can read it (mode {mode:04o})")


def _database() -> Findings:
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        message = f"{connection.vendor} cannot be reached: {str(error).strip()}"
        yield Finding("broken", "database", message)
        return
    yield Finding("ok", "database", f"{connection.vendor} answers")
    yield from _migrations()


def _migrations() -> Findings:
    try:
        names = migrating.pending()
    except DatabaseError as error:
        yield Finding("broken", "migrations", f"the table of migrations cannot be read: {error}")
        return
    if names:
        message = f"{len(names)} pending, the first is {names[0]}; run manage.py migrate"
        yield Finding("broken", "migrations", message)
    else:
        yield Finding("ok", "migrations", "all applied")
        yield _triggers()


def _triggers() -> Finding:
    wrong = triggers.differences()
    if wrong:
        message = f"{len(wrong)} not as they should be; run manage.py migrate. {wrong[0]}"
        return Finding("broken", "triggers", message)
    return Finding("ok", "triggers", "the ledger, invoices, credit and prices are guarded")


def _key_fingerprints() -> Findings:
    """Whether this host's keys are those of the database, and all that its rows need."""
    for kind, load in (
        (fingerprints.PEPPER, peppers.keyring),
        (fingerprints.ENCRYPTION, credentials.keyring),
    ):
        try:
            fingerprints.refuse_foreign(kind, load())
        except (KeyringError, OSError) as error:
            yield Finding("broken", "key files", str(error))
    unknown = KeySecret.objects.exclude(pepper_id__in=peppers.keyring().all())
    if count := unknown.filter(api_key__revoked_at=None).count():
        name = unknown.values_list("pepper_id", flat=True)[0]
        message = (
            f"{count} secrets of API keys were made with a pepper this host lacks ({name!r}): they get 401 "
            "here. Copy it from the host that has it"
        )
        yield Finding("broken", "key peppers", message)


def _redis() -> Findings:
    if settings.REDIS_URL is None:
        message = (
            "REDIS_URL is not set: run one worker process on one host only, because limits and "
            "running calls are counted within the process"
        )
        yield Finding("hint", "redis", message)
        return
    try:
        client = redis.Redis.from_url(
            settings.REDIS_URL.reveal(),
            socket_connect_timeout=REDIS_SECONDS,
            socket_timeout=REDIS_SECONDS,
        )
        with client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        yield Finding(
            "broken", "redis", f"REDIS_URL is set, but cannot be used: {type(error).__name__}"
        )
        return
    yield Finding("ok", "redis", "answers")


def _tasks() -> Findings:
    if settings.TASKS == "celery":
        message = "manage.py background_worker and manage.py beat must run beside serve"
        yield Finding("hint", "tasks", message)
    else:
        yield Finding("ok", "tasks", "serve does background and periodic work itself")


def _processes() -> Findings:
    """Whether the processes that work for others show signs of life."""
    for sentence in heartbeats.missing(peers.QUEUES, tasks=settings.TASKS):
        yield Finding("hint", "processes", sentence)


def _variables() -> Findings:
    for sentence in settings.UNKNOWN_VARIABLES:
        yield Finding("hint", "settings", sentence)


def _console() -> Findings:
    """Whether somebody can get into the console, and be told what it has to tell."""
    if not get_user_model().objects.filter(is_active=True, is_staff=True).exists():
        message = "nobody can sign in; run manage.py createsuperuser"
        yield Finding("hint", "console", message)
    told = Budget.objects.exclude(alert_emails=[]).count()
    if told and settings.SMTP_URL is None:
        message = (
            f"{told} budgets name somebody to be told by e-mail, but TOLLGATE_SMTP_URL is not set: nothing "
            "is sent"
        )
        yield Finding("hint", "mail", message)


def _origins() -> Findings:
    """Whether the console answers to the names by which it is reached."""
    allowed = AllowedHosts(settings.ALLOWED_HOSTS)
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        host = urlsplit(origin).netloc
        if "*" not in host and not allowed.allows(host.encode()):
            message = (
                f"{origin} is a trusted origin, but requests to {host} are refused: list it in "
                "TOLLGATE_ALLOWED_HOSTS"
            )
            yield Finding("broken", "allowed hosts", message)
    if set(settings.ALLOWED_HOSTS) <= LOCAL_HOSTS:
        message = (
            "API and console answer to names of this machine alone; list the others by which they are "
            "reached in TOLLGATE_ALLOWED_HOSTS"
        )
        yield Finding("hint", "allowed hosts", message)
    elif not settings.SESSION_COOKIE_SECURE and not settings.CSRF_TRUSTED_ORIGINS:
        message = (
            "if a proxy ends TLS, forms of the console are refused until TOLLGATE_TRUSTED_ORIGINS or "
            "TOLLGATE_SECURE_COOKIES says so"
        )
        yield Finding("hint", "trusted origins", message)


def _web_settings() -> Findings:
    if settings.DEBUG:
        message = "TOLLGATE_DEBUG is on: errors show settings and code; never in production"
        yield Finding("hint", "debug", message)
    if "*" in settings.ALLOWED_HOSTS:
        message = "TOLLGATE_ALLOWED_HOSTS allows any host name; list the real ones"
        yield Finding("hint", "allowed hosts", message)
    else:
        yield Finding("ok", "allowed hosts", ", ".join(settings.ALLOWED_HOSTS))


def _versions() -> Findings:
    for name, floor in VERSION_FLOORS.items():
        version = metadata.version(name)
        wanted = ".".join(map(str, floor))
        if _numbers(version) < floor:
            message = f"{version} is too old; {wanted} or newer is needed (make install)"
            yield Finding("broken", name, message)
        else:
            yield Finding("ok", name, f"{version} ({wanted} or newer is needed)")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _keyrings() -> Findings:
    for subject, load in (
        ("key-encryption keys", credentials.keyring),
        ("key peppers", peppers.keyring),
    ):
        try:
            ring = load()
            ring.reload()  # judge what is there now, not what this process has in memory
        except (KeyringError, OSError) as error:
            yield Finding("broken", subject, str(error))
            continue
        yield Finding("ok", subject, f"{len(ring.all())} known, {ring.current[0]!r} in use")


def _credentials() -> Findings:
    by_key: dict[str, int] = defaultdict(int)
    for credential in Credential.objects.select_related("provider").order_by("pk").iterator():
        problem = _problem_of(credential)
        if problem is not None:
            yield Finding("broken", f"credential of {credential.provider}", problem)
        else:
            by_key[key_id_of(credential.sealed_secret)] += 1
    for key_id, count in sorted(by_key.items()):
        yield Finding("ok", "credentials", f"{count} open with the key {key_id!r}")


def _problem_of(credential: Credential) -> str | None:
    """Why it cannot be opened, and what to do; None if it can."""
    try:
        credentials.reveal(credential)
    except (KeyringError, SealError, OSError) as error:
        return f"{error} Bring that key back, or enter the secret again."
    return None


def _webhooks() -> Findings:
    rows = WebhookEndpoint.objects.filter(enabled=True).order_by("pk")
    for endpoint in rows.iterator():
        try:
            endpoints.signing_secrets(endpoint)
        except (KeyringError, SealError, OSError) as error:
            message = f"{error} Bring that key back, or rotate the endpoint's secret."
            yield Finding("broken", f"webhook endpoint {endpoint.pk}", message)


def _spools() -> Findings:
    """Usage on its way into the ledger, and what did not get there."""
    directory: Path = settings.SPOOL_DIR
    if not directory.is_dir():
        yield Finding("ok", "spools", "none on this host yet")
        return
    if aside := set_aside.count(directory):
        message = (
            f"{aside} records could not be booked and lie in {directory / set_aside.FILE}; book what they "
            "say with correct_usage or grant_credit, then move that file away"
        )
        yield Finding("broken", "set aside", message)
    if damaged := archive.damaged(directory):
        message = f"of {len(damaged)} files something could not be read, the first is {damaged[0]}"
        yield Finding("hint", "damaged spools", message)
    if not spool.has_room(directory, settings.SPOOL_LEAST_FREE_PERCENT):
        message = f"too little of the disk below {directory} is free: calls are refused with 503"
        yield Finding("broken", "spools", message)
        return
    yield _unread(directory)


def _unread(directory: Path) -> Finding:
    names = [place.name for place in ingest.spools(directory)]
    since = clock.now() - UNREAD_AFTER
    read = SpoolPosition.objects.filter(spool__in=names, updated_at__gte=since).count()
    if read < len(names):
        message = (
            f"{len(names) - read} of {len(names)} were not read for a minute; serve and "
            "ingest read them, ingest --once reads them now"
        )
        return Finding("hint", "spools", message)
    return Finding("ok", "spools", f"{len(names)} on this host, all being read")


def _providers() -> Findings:
    usable = Credential.objects.filter(provider=OuterRef("pk"), enabled=True)
    without = Provider.objects.filter(~Exists(usable), enabled=True).exclude(auth_kind="none")
    for provider in without:
        yield Finding("hint", f"provider {provider}", "has no enabled credential, calls to it fail")
    private = Credential.objects.filter(tenant__isnull=False, provider__tenant=None, enabled=True)
    private = private.filter(provider__allow_private_network=True).exclude(
        provider__auth_kind="none"
    )
    for credential in private.filter(provider__allow_tenant_credentials=True).order_by("pk"):
        message = (
            f"tenant {credential.tenant} has a credential of its own for it, whose calls cost nothing: if it "
            "accepts any credential, take 'allow tenant credentials' off it"
        )
        yield Finding("hint", f"provider {credential.provider}", message)
    count = Provider.objects.filter(enabled=True).count()
    yield Finding("ok" if count else "hint", "providers", f"{count} enabled")


def _aliases() -> Findings:
    usable = Target.objects.filter(alias=OuterRef("pk"), provider_model__provider__enabled=True)
    for alias in Alias.objects.filter(~Exists(usable), enabled=True, platform_alias=None):
        yield Finding("hint", f"alias {alias}", "has no target whose provider is enabled")
    for alias in Alias.objects.filter(enabled=True, platform_alias__enabled=False):
        message = f"is a link to {alias.platform_alias}, which is disabled: its name is unknown"
        yield Finding("hint", f"alias {alias}", message)
    yield from _legacy_targets()
    count = Alias.objects.filter(enabled=True).count()
    yield Finding("ok" if count else "hint", "aliases", f"{count} enabled")


def _legacy_targets() -> Findings:
    """Aliases of tenants from before links, and prices that were published under their names."""
    legacy = Target.objects.filter(is_legacy=True).select_related(
        "alias__tenant", "provider_model__provider"
    )
    for target in legacy:
        slug = target.alias.tenant.slug if target.alias.tenant is not None else ""
        message = (
            f"of tenant {slug} leads to the platform's {target.provider_model}, past its aliases, and is "
            "charged what that model is; make it a link: add_alias --link"
        )
        yield Finding("hint", f"alias {target.alias}", message)
    for version in price_setting.uncounted():
        whose = f"for tenant {version.tenant.slug}" if version.tenant else "for every tenant"
        message = (
            f"{whose} charges nobody: only a tenant's alias has that name. Publish it for the platform's "
            "alias, for provider/model, or for * (calls to tenants' own providers)"
        )
        yield Finding("hint", f"price of {version.model}", message)


def _tenants() -> Findings:
    living = ApiKey.objects.filter(Q(revoked_at=None), tenant=OuterRef("pk"))
    for tenant in Tenant.objects.filter(~Exists(living)):
        message = f"has no key; manage.py create_key --tenant {tenant.slug} --name first"
        yield Finding("hint", f"tenant {tenant.slug}", message)
    count = Tenant.objects.count()
    message = f"{count}" if count else "none yet; run manage.py quickstart or create_tenant"
    yield Finding("ok" if count else "hint", "tenants", message)


Check = Callable[[], Findings]
BASIC_CHECKS: tuple[Check, ...] = (
    _versions,
    _keyrings,
    _data_directory,
    _web_settings,
    _origins,
    _variables,
    _redis,
    _tasks,
    _database,
)
ROW_CHECKS: tuple[Check, ...] = (
    _key_fingerprints,
    _processes,
    _console,
    _credentials,
    _webhooks,
    _spools,
    _providers,
    _aliases,
    _tenants,
)
