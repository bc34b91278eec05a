"""Records of an older version are read, and a field that a newer one adds holds nothing up."""

from __future__ import annotations

import struct
import tarfile
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from tenants.ledger.ingest import ingest_all
from tenants.ledger.records import Opened, Settled, Unreadable, read
from tenants.ledger.spool import Spool
from tenants.models import UsageRow
from tests.tenants.ledger.conftest import log_of, opened, settled

INSTALLATIONS = Path(__file__).parents[2] / "upgrade"


def test_every_record_in_the_spools_of_an_older_version_is_read() -> None:
    read_bytes = 0
    for packed in INSTALLATIONS.glob("*/*.tar.xz"):
        with tarfile.open(packed) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".log") else None
                if file is None:
                    continue
                data = file.read()
                found = list(read(data))
                assert [record for record, _ in found if isinstance(record, Unreadable)] == []
                assert not found or found[-1][1] == len(data)
                read_bytes += len(data)
    assert read_bytes > 10_000


def with_more(record: Opened | Settled) -> bytes:
    """The record as a later version might write it."""
    body = msgspec.json.encode({**msgspec.to_builtins(record), "since_next": [1, {"a": "b"}]})
    return struct.pack(">II", len(body), crc32(body)) + body


@pytest.mark.persistence
@pytest.mark.django_db(transaction=True)
def test_a_field_of_a_version_to_come_is_passed_over(spools: Path) -> None:
    spool = Spool(spools)
    spool.append(opened())
    call = opened()
    with log_of(spool, spools).open("ab") as file:
        file.write(with_more(call) + with_more(settled(call, 7)))
    spool.close()
    found = ingest_all(spools)
    assert (found.rows, found.abandoned, found.set_aside) == (1, 1, 0)
    row = UsageRow.objects.get(pk=call.id)
    assert (row.status, row.input_fresh, row.charge_nano) == ("completed", 7, 56)
