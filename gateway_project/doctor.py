"""Report what is configured and what is missing, in sentences a person can act on."""

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
from django.db import DatabaseError, connection
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from gateway_project import doctor_facts, migrating
from gateway_project.doctor_facts import Facts
from gateway_project.lib import clock
from gateway_project.lib.hosts import AllowedHosts
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError, key_id_of
from gateway_project.serving import peers
from responses_api.models import WebhookEndpoint
from responses_api.webhooks import endpoints
from routing import credentials
from routing.models import Credential
from tenants import heartbeats, triggers
from tenants.keys import fingerprints, peppers
from tenants.ledger import archive, ingest, partitions, set_aside, spool
from tenants.walls import walls

Level = Literal["ok", "hint", "broken"]
REDIS_SECONDS = 2.0
OTLP_SECONDS = 2.0
OTLP_GRPC_PORT = 4317
UNREAD_AFTER = timedelta(minutes=1)  # many times longer than an ingester lets a spool be
MARKS: dict[Level, str] = {"ok": "ok    ", "hint": "hint  ", "broken": "BROKEN"}

# Below these, known holes are open: Django CVE-2025-14550 and CVE-2026-5766, Daphne CVE-2026-44545 and
# CVE-2026-44546; httptools' floor is the release our client was tested with.
VERSION_FLOORS = {"django": (5, 2, 14), "daphne": (4, 2, 2), "httptools": (0, 6, 4)}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
SECRET_FILES = ("secret_key", "key_peppers", "key_encryption_keys", "quickstart.json")


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


def examine(facts: Facts | None = None) -> list[Finding]:
    """Run every check; those that read rows run only if the tables can be read. `facts` are those that were
    read already."""
    findings = [finding for check in BASIC_CHECKS for finding in check()]
    if any(f.level == "broken" and f.subject in {"database", "migrations"} for f in findings):
        message = _("not checked until the database works")
        return [*findings, Finding("hint", "configuration", message)]
    facts = facts or doctor_facts.read()
    findings += [finding for check in FACT_CHECKS for finding in check(facts)]
    return findings + [finding for check in READING_CHECKS for finding in check()]


def is_sound(findings: list[Finding]) -> bool:
    return all(finding.level != "broken" for finding in findings)


def _data_directory() -> Findings:
    directory: Path = settings.DATA_DIR
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077:
        message = _("other users can list it (mode %(mode)s); run chmod 700 %(directory)s") % {
            "mode": format(mode, "04o"),
            "directory": directory,
        }
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
        message = _("other users can read it (mode %(mode)s); run chmod 600 %(file)s") % {
            "mode": format(mode, "04o"),
            "file": file,
        }
        return Finding("broken", file.name, message)
    return Finding(
        "ok",
        file.name,
        _("only its owner can read it (mode %(mode)s)") % {"mode": format(mode, "04o")},
    )


def _database() -> Findings:
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        message = _("%(vendor)s cannot be reached: %(error)s") % {
            "vendor": connection.vendor,
            "error": str(error).strip(),
        }
        yield Finding("broken", "database", message)
        return
    yield Finding("ok", "database", _("%(vendor)s answers") % {"vendor": connection.vendor})
    yield from _migrations()


def _migrations() -> Findings:
    try:
        names = migrating.pending()
    except DatabaseError as error:
        yield Finding(
            "broken",
            "migrations",
            _("the table of migrations cannot be read: %(error)s") % {"error": error},
        )
        return
    if names:
        message = _("%(count)s pending, the first is %(first)s; run manage.py migrate") % {
            "count": len(names),
            "first": names[0],
        }
        yield Finding("broken", "migrations", message)
    else:
        yield Finding("ok", "migrations", _("all applied"))
        yield _triggers()


def _triggers() -> Finding:
    wrong = triggers.differences()
    if wrong:
        message = _("%(count)s missing or different; run manage.py migrate. %(wrong)s") % {
            "count": len(wrong),
            "wrong": wrong[0],
        }
        return Finding("broken", "triggers", message)
    message = _("the ledger, invoices, credit and prices are guarded, and no row leaves its tenant")
    return Finding("ok", "triggers", message)


def _stray_links() -> Findings:
    """Report links between tenants that were stored before the database refused them."""
    for sentence in walls.strays(connection):
        message = _("%(sentence)s Correct or delete that row; no page and no call shows it.") % {
            "sentence": sentence
        }
        yield Finding("broken", "isolation", message)


def _key_fingerprints(facts: Facts) -> Findings:
    """Check that this host's keys are the database's, and that its rows can be opened with them."""
    known_here: dict[str, dict[str, str]] = defaultdict(dict)
    for kind, key_id, digest in facts.fingerprints:
        known_here[kind][key_id] = digest
    for kind, load in (
        (fingerprints.PEPPER, peppers.keyring),
        (fingerprints.ENCRYPTION, credentials.keyring),
    ):
        try:
            fingerprints.refuse_foreign(kind, load(), known_here[kind])
        except (KeyringError, OSError) as error:
            yield Finding("broken", "key files", str(error))
    known = peppers.keyring().all()
    if names := sorted((facts.secrets.keys() | facts.tokens.keys()) - known.keys()):
        message = _(
            "%(count)s API key secrets and %(count_2)s API tokens were made with a pepper this host "
            "does not have ('%(names)s'), so they get 401 here. Copy the pepper from the host that has "
            "it"
        ) % {
            "count": sum(facts.secrets.get(name, 0) for name in names),
            "count_2": sum(facts.tokens.get(name, 0) for name in names),
            "names": names[0],
        }
        yield Finding("broken", "key peppers", message)


def _redis() -> Findings:
    if settings.REDIS_URL is None:
        message = _(
            "REDIS_URL is not set: run one worker process on one host only, because limits and running "
            "calls are counted within the process"
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
            "broken",
            "redis",
            _("REDIS_URL is set, but cannot be used: %(error)s") % {"error": type(error).__name__},
        )
        return
    yield Finding("ok", "redis", _("answers"))


def _tasks() -> Findings:
    if settings.TASKS == "celery":
        message = _(
            "manage.py background_worker and manage.py beat do background and periodic work"
        )
        yield Finding("ok", "tasks", message)  # those that are missing are findings of `_processes`
    else:
        yield Finding("ok", "tasks", _("serve does background and periodic work itself"))


def _metrics() -> Findings:
    """Tell where Prometheus reads, and whether strangers may."""
    if not settings.IS_MEASURED:
        message = _("nobody can read them; set TOLLGATE_METRICS_PORT or TOLLGATE_METRICS_TOKEN")
        yield Finding("ok", "metrics", message)
        return
    if settings.METRICS_PORT is None:
        yield Finding("ok", "metrics", _("at /metrics of the gateway, with the token"))
        return
    address = f"{settings.METRICS_HOST}:{settings.METRICS_PORT}"
    if settings.METRICS_TOKEN is None and settings.METRICS_HOST not in LOOPBACK:
        message = _("whoever reaches %(address)s can read them; set TOLLGATE_METRICS_TOKEN")
        yield Finding("hint", "metrics", message % {"address": address})
        return
    yield Finding("ok", "metrics", _("at %(address)s/metrics") % {"address": address})


def _processes(facts: Facts) -> Findings:
    """Check that the background processes show signs of life."""
    alive = [(sign.role, sign.host) for sign in facts.processes if sign.is_alive]
    for sentence in heartbeats.missing_among(alive, peers.QUEUES, tasks=settings.TASKS):
        yield Finding("hint", "processes", sentence)


def _variables() -> Findings:
    for sentence in settings.UNKNOWN_VARIABLES:
        yield Finding("hint", "settings", sentence)


def _console(facts: Facts) -> Findings:
    """Check that somebody can sign in to the console, and that alerts can reach them."""
    if not facts.has_operator:
        message = _("there is no operator; run manage.py create_operator NAME")
        yield Finding("hint", "console", message)
    told = facts.budgets_with_mail
    if told and settings.SMTP_URL is None:
        message = _(
            "%(told)s budgets have alert addresses, but TOLLGATE_SMTP_URL is not set, so that no "
            "e-mail is sent"
        ) % {"told": told}
        yield Finding("hint", "mail", message)


def _origins() -> Findings:
    """Check that the console answers to the names by which it is reached."""
    allowed = AllowedHosts(settings.ALLOWED_HOSTS)
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        host = urlsplit(origin).netloc
        if "*" not in host and not allowed.allows(host.encode()):
            message = _(
                "%(origin)s is a trusted origin, but requests to %(host)s are refused: list it in "
                "TOLLGATE_ALLOWED_HOSTS"
            ) % {"origin": origin, "host": host}
            yield Finding("broken", "allowed hosts", message)
    if set(settings.ALLOWED_HOSTS) <= LOCAL_HOSTS:
        message = _(
            "API and console answer only to this machine's own names; list the other names by which "
            "they are reached in TOLLGATE_ALLOWED_HOSTS"
        )
        yield Finding("hint", "allowed hosts", message)
    elif not settings.SESSION_COOKIE_SECURE and not settings.CSRF_TRUSTED_ORIGINS:
        message = _(
            "if a proxy terminates TLS, console forms are refused until TOLLGATE_PUBLIC_URL, "
            "TOLLGATE_TRUSTED_ORIGINS or TOLLGATE_SECURE_COOKIES is set"
        )
        yield Finding("hint", "trusted origins", message)


def _public_url() -> Findings:
    """Check that what is printed for clients and sent to people names an address that they can reach."""
    is_behind_proxy = bool(settings.TRUSTED_PROXIES) or settings.SECURE_COOKIES
    if settings.PUBLIC_URL is None and is_behind_proxy:
        message = _(
            "TOLLGATE_PUBLIC_URL is not set although a proxy stands in front: snippets, profiles and "
            "links may name an address that nobody outside can reach"
        )
        yield Finding("hint", "public url", message)
    elif settings.PUBLIC_URL is not None:
        yield Finding("ok", "public url", settings.PUBLIC_URL)


def _web_settings() -> Findings:
    if settings.DEBUG:
        message = _("TOLLGATE_DEBUG is on: errors show settings and code; never in production")
        yield Finding("hint", "debug", message)
    if "*" in settings.ALLOWED_HOSTS:
        message = _("TOLLGATE_ALLOWED_HOSTS allows any host name; list the real ones")
        yield Finding("hint", "allowed hosts", message)
    else:
        yield Finding("ok", "allowed hosts", ", ".join(settings.ALLOWED_HOSTS))


def _traces() -> Findings:
    """Check that the collector of traces takes an export, which is empty."""
    endpoint = settings.OTLP_ENDPOINT
    if endpoint is None:
        return
    answer = endpoint.post(b'{"resourceSpans":[]}', timeout_seconds=OTLP_SECONDS)
    if not answer.problem:
        yield Finding("ok", "traces", str(endpoint))
        return
    told = {"endpoint": endpoint, "problem": answer.problem}
    message = _("%(endpoint)s does not take traces: %(problem)s") % told
    yield Finding("hint", "traces", message)
    if endpoint.port == OTLP_GRPC_PORT:
        message = _("4317 is the usual port of OTLP over gRPC; that of OTLP over HTTP is 4318")
        yield Finding("hint", "traces", message)


def _versions() -> Findings:
    for name, floor in VERSION_FLOORS.items():
        version = metadata.version(name)
        wanted = ".".join(map(str, floor))
        if _numbers(version) < floor:
            message = _("%(version)s is too old; %(wanted)s or newer is needed (make install)") % {
                "version": version,
                "wanted": wanted,
            }
            yield Finding("broken", name, message)
        else:
            yield Finding(
                "ok",
                name,
                _("%(version)s (%(wanted)s or newer is needed)")
                % {"version": version, "wanted": wanted},
            )


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
        yield Finding(
            "ok",
            subject,
            _("%(count)s known, '%(current)s' in use")
            % {"count": len(ring.all()), "current": ring.current[0]},
        )


def _credentials() -> Findings:
    by_key: dict[str, int] = defaultdict(int)
    for credential in Credential.objects.select_related("provider").order_by("pk").iterator():
        problem = _problem_of(credential)
        if problem is not None:
            yield Finding("broken", f"credential of {credential.provider}", problem)
        else:
            by_key[key_id_of(credential.sealed_secret)] += 1
    for key_id, count in sorted(by_key.items()):
        yield Finding(
            "ok",
            "credentials",
            _("%(count)s can be opened with the key '%(key_id)s'")
            % {"count": count, "key_id": key_id},
        )


def _problem_of(credential: Credential) -> str | None:
    """Return why it cannot be opened and what to do about it; None if it can be opened."""
    try:
        credentials.reveal(credential)
    except (KeyringError, SealError, OSError) as error:
        return _("%(error)s Bring that key back, or enter the secret again.") % {"error": error}
    return None


def _webhooks() -> Findings:
    rows = WebhookEndpoint.objects.filter(enabled=True).order_by("pk")
    for endpoint in rows.iterator():
        try:
            endpoints.signing_secrets(endpoint)
        except (KeyringError, SealError, OSError) as error:
            message = _("%(error)s Bring that key back, or rotate the endpoint's secret.") % {
                "error": error
            }
            yield Finding("broken", f"webhook endpoint {endpoint.pk}", message)


def _spools(facts: Facts) -> Findings:
    """Report usage that is waiting to enter the ledger, and usage that failed to."""
    directory: Path = settings.SPOOL_DIR
    if not directory.is_dir():
        yield Finding("ok", "spools", _("none on this host yet"))
        return
    if aside := set_aside.count(directory):
        message = _(
            "%(aside)s records could not be booked and are in %(file)s; book them with correct_usage "
            "or grant_credit, then move that file away"
        ) % {"aside": aside, "file": directory / set_aside.FILE}
        yield Finding("broken", "set aside", message)
    if damaged := archive.damaged(directory):
        message = _("%(count)s files are partly unreadable, the first is %(damaged)s") % {
            "count": len(damaged),
            "damaged": damaged[0],
        }
        yield Finding("hint", "damaged spools", message)
    if not spool.has_room(directory, settings.SPOOL_LEAST_FREE_PERCENT):
        message = _(
            "too little free disk space below %(directory)s: calls are refused with 503"
        ) % {"directory": directory}
        yield Finding("broken", "spools", message)
        return
    yield _unread(facts, directory)


def _partitions(facts: Facts) -> Findings:
    """Check that the ledger's table has partitions for the coming months (PostgreSQL)."""
    there = partitions.ordered(facts.bounds)
    if not there:
        return
    if missing := partitions.missing_months(clock.now(), 1, there):
        message = _(
            "the ledger has no partition for %(missing)s: periodic work is not running. Run serve, or "
            "background_worker and beat; nothing is lost meanwhile"
        ) % {"missing": format(missing[0], "%Y-%m")}
        yield Finding("broken", "partitions", message)
    elif facts.has_default_rows:
        message = _(
            "%(table)s holds rows, which count like all others: a host's clock is wrong, or a spool "
            "was read after its month was deleted"
        ) % {"table": partitions.DEFAULT}
        yield Finding("hint", "partitions", message)
    else:
        yield Finding("ok", "partitions", _("the ledger's next months are prepared"))


def _unread(facts: Facts, directory: Path) -> Finding:
    names = {place.name for place in ingest.spools(directory)}
    since = clock.now() - UNREAD_AFTER
    read = sum(one.spool in names and one.updated_at >= since for one in facts.spools)
    if read < len(names):
        message = _(
            "%(read)s of %(count)s have not been read for a minute; serve and ingest read them, ingest "
            "--once reads them now"
        ) % {"read": len(names) - read, "count": len(names)}
        return Finding("hint", "spools", message)
    return Finding(
        "ok", "spools", _("%(count)s on this host, all being read") % {"count": len(names)}
    )


def _providers(facts: Facts) -> Findings:
    for name in facts.providers_without_credential:
        message = _("has no enabled credential, calls to it fail")
        yield Finding("hint", f"provider {name}", message)
    for tenant, provider in facts.lent_providers:
        message = _(
            "tenant %(tenant)s has its own credential for it, whose calls cost nothing: if the "
            "provider accepts any credential, turn off 'allow tenant credentials'"
        ) % {"tenant": tenant}
        yield Finding("hint", f"provider {provider}", message)
    yield _enabled("providers", facts.providers)


def _enabled(subject: str, count: int) -> Finding:
    return Finding("ok" if count else "hint", subject, _("%(count)s enabled") % {"count": count})


def _aliases(facts: Facts) -> Findings:
    for name, platform_alias in facts.aliases_to_nowhere:
        message = _("has no target whose provider is enabled")
        if platform_alias is not None:
            message = _(
                "links to %(platform_alias)s, which is disabled, so calls get model_not_found"
            ) % {"platform_alias": platform_alias}
        yield Finding("hint", f"alias {name}", message)
    yield from _legacy_targets(facts)
    yield _enabled("aliases", facts.aliases)


def _legacy_targets(facts: Facts) -> Findings:
    """Report tenants' aliases that predate links, and prices published under those names."""
    for slug, alias, provider, upstream_id in facts.legacy_targets:
        message = _(
            "of tenant %(slug)s leads to the platform's %(provider_model)s without one of its aliases, "
            "and is charged at that model's price; make it a link: add_alias --link"
        ) % {"slug": slug or "", "provider_model": f"{provider}/{upstream_id}"}
        yield Finding("hint", f"alias {alias}", message)
    for model, slug in facts.uncharged:
        whose = f"for tenant {slug}" if slug else "for every tenant"
        message = _(
            "%(whose)s applies to no call: only a tenant's alias has that name. Publish it for the "
            "platform's alias, for provider/model, or for * (calls to tenants' own providers)"
        ) % {"whose": whose}
        yield Finding("hint", f"price of {model}", message)


def _tenants(facts: Facts) -> Findings:
    for slug in facts.tenants_without_key:
        message = _("has no key; manage.py create_key --tenant %(slug)s --name first") % {
            "slug": slug
        }
        yield Finding("hint", f"tenant {slug}", message)
    count = facts.tenants
    message = f"{count}" if count else "none yet; run manage.py quickstart or create_tenant"
    yield Finding("ok" if count else "hint", "tenants", message)
    for kept in facts.kept_owners:
        message = _(
            "%(username)s is its last owner, though the groups at its identity provider give less "
            "since %(since)s; make somebody else an owner"
        ) % {"username": kept.username, "since": format(kept.since, "%Y-%m-%d")}
        yield Finding("hint", f"tenant {kept.slug}", message)


def _backups(facts: Facts) -> Findings:
    """Check that the installation is backed up, and lately."""
    last = facts.backup
    if last is None:
        message = _("never made; manage.py backup makes one while the gateway serves")
        yield Finding("hint", "backup", message)
    elif clock.now() - last > settings.BACKUP_MAX_AGE:
        message = _("the last one is of %(last)s, which is older than TOLLGATE_BACKUP_MAX_AGE") % {
            "last": format(last, "%Y-%m-%d %H:%M UTC")
        }
        yield Finding("hint", "backup", message)
    else:
        message = _("the last one is of %(last)s") % {"last": format(last, "%Y-%m-%d %H:%M UTC")}
        yield Finding("ok", "backup", message)


BASIC_CHECKS: tuple[Callable[[], Findings], ...] = (
    _versions,
    _keyrings,
    _data_directory,
    _web_settings,
    _origins,
    _public_url,
    _variables,
    _redis,
    _traces,
    _tasks,
    _metrics,
    _database,
)
# These read what only they need: sealed secrets, and links of every kind.
READING_CHECKS = (_credentials, _webhooks, _stray_links)
FACT_CHECKS: tuple[Callable[[Facts], Findings], ...] = (
    _key_fingerprints,
    _processes,
    _console,
    _spools,
    _partitions,
    _backups,
    _providers,
    _aliases,
    _tenants,
)
