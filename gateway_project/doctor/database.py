"""Check the database: its schema, what guards its rows, and whether it is backed up."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils.translation import gettext as _

from gateway_project import migrating
from gateway_project.doctor.facts import Facts
from gateway_project.doctor.findings import Finding, Findings
from gateway_project.lib import clock
from tenants import triggers
from tenants.ledger import partitions
from tenants.walls import walls


def check_database() -> Findings:
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


def check_stray_links() -> Findings:
    """Report links between tenants that were stored before the database refused them."""
    for sentence in walls.strays(connection):
        message = _("%(sentence)s Correct or delete that row; no page and no call shows it.") % {
            "sentence": sentence
        }
        yield Finding("broken", "isolation", message)


def check_partitions(facts: Facts) -> Findings:
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


def check_backups(facts: Facts) -> Findings:
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
