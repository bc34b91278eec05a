"""`python -m bench.console`: what pages of the console cost an operator, in the database that is configured.

Fill one first: `manage.py migrate` and `manage.py seed_demo --requests 1000000`, with TOLLGATE_DATA_DIR or
DATABASE_URL naming an installation of its own. Every list, filter and chart is opened a few times within this
process. Times are milliseconds of a processor, the one that serves a connection of PostgreSQL included: the
median of `--rounds`, after two that warm up. What is beyond docs/console.md's bounds is bold.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

MOST_MS, MOST_BYTES, MOST_QUERIES = (
    300,
    150_000,
    12,
)  # what docs/console.md promises at a million requests
NOTHING = "there-is-none"
Page = tuple[str, str]  # what it is, and its address


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="pages with this text in their name")
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    os.environ["TOLLGATE_LOG_LEVEL"] = "ERROR"
    import django  # noqa: PLC0415  # after the variables

    django.setup()
    measure = Measure(options.rounds)
    print("| page | ms | queries | KB |\n|---|--:|--:|--:|")
    for name, address in pages():
        if options.only in name:
            print(f"| {name} | {measure.page(address)} |", flush=True)
    return 0


class Measure:
    """Open pages as an operator."""

    def __init__(self, rounds: int) -> None:
        from django.contrib.auth import get_user_model  # noqa: PLC0415
        from django.db import connection  # noqa: PLC0415
        from django.test import Client  # noqa: PLC0415

        operator, _ = get_user_model()._default_manager.get_or_create(
            username="bench-console", defaults={"is_superuser": True, "is_staff": True}
        )
        self._rounds = rounds
        self._client = Client(SERVER_NAME="localhost", headers={"accept-language": "en"})
        self._client.force_login(operator)
        connection.ensure_connection()
        self._backend = connection.connection.info.backend_pid if _is_postgres() else None

    def page(self, address: str) -> str:
        """Return its milliseconds, queries and size as cells of a table."""
        from django.db import connection  # noqa: PLC0415
        from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

        self._open(address)  # content types and the like are read once a process
        with CaptureQueriesContext(connection) as queries:
            size = self._open(address)
            asked = len(queries)  # before another request empties the log
        taken = []
        for _ in range(self._rounds):
            begun = self._used()
            self._open(address)
            taken.append((self._used() - begun) * 1e3)
        figures = (
            (median(taken), MOST_MS, 1),
            (asked, MOST_QUERIES, 1),
            (size, MOST_BYTES, 1_000),
        )
        return " | ".join(
            f"**{value / unit:.0f}**" if value > most else f"{value / unit:.0f}"
            for value, most, unit in figures
        )

    def _open(self, address: str) -> int:
        response: Any = self._client.get(address)
        if response.status_code != 200:
            raise SystemExit(f"{address} is answered with {response.status_code}")
        return len(b"".join(response.streaming_content) if response.streaming else response.content)

    def _used(self) -> float:
        if self._backend is None:
            return time.process_time()
        fields = Path(f"/proc/{self._backend}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _is_postgres() -> bool:
    from django.db import connection  # noqa: PLC0415

    return connection.vendor == "postgresql"


def pages() -> Iterator[Page]:
    """Return every page that shows many rows, with the filters it has, those that find nothing among them."""
    from django.urls import reverse  # noqa: PLC0415

    from tenants.models import ApiKey, KeyDay, RefusedRequest, UsageRow  # noqa: PLC0415

    row = UsageRow.objects.filter(status="completed").order_by("-opened_at").first()
    refused = RefusedRequest.objects.order_by("-at").first()
    largest = KeyDay.objects.order_by("-requests").select_related("tenant").first()
    if row is None or largest is None:
        raise SystemExit("there is no usage: `manage.py seed_demo --requests 1000000` makes some")
    slug, key = largest.tenant.slug, largest.key_public_id
    of = {"tenant": slug, "period": "90d"}

    def page(name: str, route: str, *ids: object, **query: str) -> Page:
        asked = "&".join(f"{each}={value}" for each, value in query.items())
        return (
            f"{name}{' ' if asked else ''}{asked}",
            f"{reverse(f'admin:{route}', args=ids)}?{asked}",
        )

    yield page("overview", "overview")
    yield page("overview", "overview", period="90d")
    yield page("overview", "overview", **of)
    for by in ("alias", "model", "provider", "tenant", "key"):
        yield page("usage", "usage", period="90d", by=by)
    for by in ("alias", "model", "key", "end_user"):
        yield page("usage", "usage", **of, by=by)
    month = {"tenant": slug, "period": "30d"}
    yield page("usage", "usage", **month, by="end_user")
    yield page("usage", "usage", **month, by="end_user", alias=row.alias)
    yield page("usage", "usage", **month, by="alias", end_user="user-7")
    yield page("usage", "usage", **of, by="end_user", end_user=NOTHING)
    for name, value in (("key", key), ("alias", row.alias), ("alias", NOTHING), ("key", NOTHING)):
        yield page("usage", "usage", period="90d", **{name: value})
    yield from _requests(page, row, key, of)
    yield page("request", "request", f"req_{row.pk.hex}")
    if refused is not None:
        yield page("request, refused", "request", f"req_{refused.pk.hex}")
    for name in ("responses", "conversations", "deliveries"):
        yield page(name, name, period="90d")
        yield page(name, name, period="90d", status=NOTHING, alias=NOTHING)
    for name in ("background", "in_flight", "circuits", "prices", "playground", "system"):
        yield page(name, name)
    key_row = ApiKey.objects.get(public_id=key)
    yield page("key", "tenants_apikey_change", key_row.pk)
    yield from _lists()


def _requests(page: Callable[..., Page], row: Any, key: str, of: dict[str, str]) -> Iterator[Page]:
    yield page("requests", "requests")
    yield page("requests", "requests", period="90d")
    yield page("requests", "requests", **of)
    for status in (
        "answered",
        "incomplete",
        "failed",
        "refused",
        "client_gone",
        "cancelled",
        "abandoned",
    ):
        yield page("requests", "requests", period="90d", status=status)
    given = {
        "key": key, "alias": row.alias, "provider": row.provider, "model": row.upstream_model,
        "code": "rate_limit_exceeded", "source": "counted", "cache": "hit", "end_user": "user-7",
    }  # fmt: skip
    for name, value in given.items():
        yield page("requests", "requests", period="90d", **{name: value})
    for name in ("key", "alias", "provider", "model", "code", "end_user"):
        yield page("requests", "requests", period="90d", **{name: NOTHING})
        yield page("requests", "requests", **of, **{name: NOTHING})


def _lists() -> Iterator[Page]:
    """Return the list of every model, and a search of it that finds nothing where it has one."""
    from django.contrib import admin  # noqa: PLC0415
    from django.urls import reverse  # noqa: PLC0415

    for model, of_model in admin.site._registry.items():
        route = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        yield f"list of {model._meta.label}", reverse(route)
        if of_model.search_fields:
            yield f"list of {model._meta.label} q={NOTHING}", f"{reverse(route)}?q={NOTHING}"


if __name__ == "__main__":
    sys.exit(main())
