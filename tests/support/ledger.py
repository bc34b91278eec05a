"""The ledger of a running gateway, as a test sees it: only what was done since the test began."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from gateway_project.lib import clock
from tenants.ledger.ingest import ingest_all
from tenants.ledger.records import Record, Unreadable, read
from tenants.models import SpoolPosition, UsageRow
from tests.support.live import LiveGateway


def begin_here(gateway: LiveGateway) -> None:
    """Take what earlier tests wrote as read."""
    files = _files(gateway)
    if not files:
        return
    last = files[-1]
    place = {"file_number": int(last.stem), "offset": last.stat().st_size}
    SpoolPosition.objects.create(
        spool=gateway.worker.services.spool_writer.name,
        host="test",
        watermark_at=clock.now(),
        low_file_number=place["file_number"],
        low_offset=place["offset"],
        **place,
    )


def rows(gateway: LiveGateway) -> list[UsageRow]:
    """Return the rows of settled calls, in the order in which the calls began."""
    gateway.idle()
    ingest_all(settings.SPOOL_DIR)
    return list(UsageRow.objects.order_by("id"))


def records(gateway: LiveGateway) -> list[Record]:
    """Everything in the spool, earlier tests' included."""
    found = [record for file in _files(gateway) for record, _ in read(file.read_bytes())]
    return [record for record in found if not isinstance(record, Unreadable)]


def _files(gateway: LiveGateway) -> list[Path]:
    return sorted(
        (Path(settings.SPOOL_DIR) / gateway.worker.services.spool_writer.name).glob("*.log")
    )
