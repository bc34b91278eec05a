"""Database settings from a URL, and the pragmas SQLite needs to serve several processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway_project.lib.env import SettingError
from gateway_project.lib.secret import Secret

POSTGRES_SCHEMES = frozenset({"postgres", "postgresql"})


def parse(url: Secret) -> dict[str, Any]:
    """Return Django's settings for `postgres://user:password@host:port/name?option=…` or
    `sqlite:///path`.

    Errors say what is wrong but never quote the URL, which holds a password.
    """
    parts = urlsplit(url.reveal())
    if parts.scheme == "sqlite":
        return sqlite(_file(unquote(parts.path)))
    if parts.scheme not in POSTGRES_SCHEMES:
        raise SettingError("DATABASE_URL must begin with postgres:// or sqlite:///.")
    try:
        port = parts.port
    except ValueError:  # quotes what stands there
        raise SettingError(
            "DATABASE_URL has a port that is not a number from 1 to 65535."
        ) from None
    name = unquote(parts.path.lstrip("/"))
    if not name:
        raise SettingError("DATABASE_URL names no database.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(port or ""),
        # Under ASGI a request runs in a thread of its own; what it keeps open nobody would find again.
        "CONN_MAX_AGE": 0,
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


def _file(text: str) -> Path:
    path = Path(text)
    if not path.name or path.is_dir():
        raise SettingError(
            f"DATABASE_URL must name a file, as in sqlite:///var/lib/gate.sqlite3; not {text!r}."
        )
    if not path.parent.is_dir():
        raise SettingError(f"DATABASE_URL: there is no directory {str(path.parent)!r}.")
    return path


def sqlite(path: Path) -> dict[str, Any]:
    """Return settings for SQLite: WAL, so that readers and a writer do not block each other; IMMEDIATE,
    so that two writers queue.

    `auto_vacuum` only affects files created with it, so it must come first: it lets retention shrink the
    file.
    """
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "CONN_MAX_AGE": 0,
        # A file, as in production: a test's server threads need to see the same database.
        "TEST": {"NAME": str(path.with_name(f"test-{path.name}"))},
        "OPTIONS": {
            "timeout": 10,
            "transaction_mode": "IMMEDIATE",
            "init_command": (
                "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            ),
        },
    }


def make_private(database: Mapping[str, Any]) -> None:
    """Restrict SQLite's files to their owner, whatever umask or earlier version created them."""
    if not database["ENGINE"].endswith("sqlite3"):
        return
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):  # not there, or not ours to change
            Path(f"{database['NAME']}{suffix}").chmod(0o600)
