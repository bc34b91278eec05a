"""Refuse to start a process that would look ready although no call could succeed."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable

from django.db import DatabaseError, connection

from gateway_project import migrating
from gateway_project.lib import clock
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from routing import credentials
from routing.models import Credential
from tenants import triggers
from tenants.keys import fingerprints, peppers
from tenants.models import KeyFingerprint

LOOK_SECONDS = 1.0


class Unfit(Exception):
    """This process must not start; the message is one sentence that says what to do."""


class NotYetFit(Unfit):
    """This process must not start yet: somebody else may do what is missing, as a job that migrates does."""

    @property
    def brief(self) -> str:
        """Return what anybody may be told: nothing of what the database itself said."""
        return f"{str(self).partition(':')[0].rstrip('.')}."


def add_wait_option(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait so long for the database and for `migrate`, which another process runs, instead of "
        "ending at once; 0 by default",
    )


def await_fit(seconds: float, tell: Callable[[NotYetFit], object]) -> None:
    """Return once nothing stands in the way. For so long wait for what may come by itself, telling each new
    reason. Raise Unfit.
    """
    give_up_at, told = clock.monotonic() + seconds, ""
    while True:
        try:
            refuse_unfit()
        except NotYetFit as error:
            if clock.monotonic() >= give_up_at:
                raise
            if error.brief != told:
                tell(error)
            told = error.brief
        else:
            return
        connection.close()
        time.sleep(LOOK_SECONDS)


def refuse_without_database() -> None:
    """Raise NotYetFit if the database does not answer."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        raise NotYetFit(
            f"The database cannot be reached: {reason_of(error)}. Start it, or correct DATABASE_URL."
        ) from error


def refuse_unfit() -> None:
    """Raise Unfit unless the tables are up to date, guarded by triggers, and readable with this host's
    keys.
    """
    try:
        refuse_without_database()
        _refuse_old_tables()
        _refuse_foreign_keys()
    except DatabaseError as error:
        raise NotYetFit(f"The database cannot be used: {reason_of(error)}.") from error


def reason_of(error: Exception) -> str:
    """Return the first line of a database error; it names hosts and users, never passwords."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")


def _refuse_old_tables() -> None:
    names = migrating.pending()
    if names:
        what = f"{len(names)} migrations of the database are pending, the first is {names[0]}"
        if not connection.introspection.table_names():
            what = "The database is empty"
        raise NotYetFit(f"{what}: run manage.py migrate (or serve --quickstart).")
    if wrong := triggers.differences():
        raise NotYetFit(f"{wrong[0]} Run manage.py migrate, which puts every trigger back.")


def _refuse_foreign_keys() -> None:
    try:
        _refuse_unproven_keys()
        fingerprints.confirm(fingerprints.PEPPER, peppers.keyring())
        fingerprints.confirm(fingerprints.ENCRYPTION, credentials.keyring())
    except (KeyringError, OSError) as error:
        raise Unfit(str(error)) from error


def _refuse_unproven_keys() -> None:
    """Check the keys against a stored secret, in a database that is older than its key fingerprints."""
    if KeyFingerprint.objects.exists():
        return
    credential = Credential.objects.order_by("pk").first()
    if credential is None:
        return
    try:
        credentials.open_sealed(credential)
    except SealError as error:
        raise Unfit(
            f"This host cannot read the stored credentials: {error} Give it the key files of the host that "
            "served before; if those are lost for good, run manage.py accept_keys."
        ) from error
