"""What must hold before a process serves, so that it does not look ready where no call can succeed."""

from __future__ import annotations

from django.db import DatabaseError, connection

from gateway_project import migrating
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from routing import credentials
from routing.models import Credential
from tenants import fingerprints, peppers, triggers
from tenants.models import KeyFingerprint


class Unfit(Exception):
    """Why this process must not start, in one sentence that says what to do."""


def refuse_without_database() -> None:
    """Raises Unfit where the database does not answer."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        raise Unfit(
            f"The database cannot be reached: {reason_of(error)}. Start it, or correct DATABASE_URL."
        ) from error


def refuse_unfit() -> None:
    """Raises Unfit unless the tables are up to date, guarded, and readable with the keys of this host."""
    try:
        refuse_without_database()
        _refuse_old_tables()
        _refuse_foreign_keys()
    except DatabaseError as error:
        raise Unfit(f"The database cannot be used: {reason_of(error)}.") from error


def reason_of(error: Exception) -> str:
    """The first line of what a database says; it names hosts and users, never passwords."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")


def _refuse_old_tables() -> None:
    names = migrating.pending()
    if names:
        what = f"{len(names)} migrations of the database are pending, the first is {names[0]}"
        if not connection.introspection.table_names():
            what = "The database is empty"
        raise Unfit(f"{what}: run manage.py migrate (or serve --quickstart).")
    if wrong := triggers.differences():
        raise Unfit(f"{wrong[0]} Run manage.py migrate, which puts every trigger back.")


def _refuse_foreign_keys() -> None:
    try:
        _refuse_unproven_keys()
        fingerprints.confirm(fingerprints.PEPPER, peppers.keyring())
        fingerprints.confirm(fingerprints.ENCRYPTION, credentials.keyring())
    except (KeyringError, OSError) as error:
        raise Unfit(str(error)) from error


def _refuse_unproven_keys() -> None:
    """In a database older than its fingerprints, a stored secret says whether the keys are the right ones."""
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
