"""Check the host: versions, files, variables and what of the ledger waits on its disk."""

from __future__ import annotations

import re
import stat
from datetime import timedelta
from importlib import metadata
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from gateway_project.doctor.facts import Facts
from gateway_project.doctor.findings import Finding, Findings
from gateway_project.lib import clock
from tenants.ledger import archive, ingest, set_aside, spool

UNREAD_AFTER = timedelta(minutes=1)  # many times longer than an ingester lets a spool be
# Below these, known holes are open: Django CVE-2025-14550 and CVE-2026-5766, Daphne CVE-2026-44545 and
# CVE-2026-44546; httptools' floor is the release our client was tested with.
VERSION_FLOORS = {"django": (5, 2, 14), "daphne": (4, 2, 2), "httptools": (0, 6, 4)}
SECRET_FILES = ("secret_key", "key_peppers", "key_encryption_keys", "quickstart.json")


def check_versions() -> Findings:
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


def check_variables() -> Findings:
    for sentence in settings.UNKNOWN_VARIABLES:
        yield Finding("hint", "settings", sentence)


def check_data_directory() -> Findings:
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


def check_spools(facts: Facts) -> Findings:
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
