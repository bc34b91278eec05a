"""Files that are torn, damaged, or could not be cut: nothing is invented, and nothing else is lost."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest

from tenants.ledger.archive import FOLDER
from tenants.ledger.ingest import ingest_all
from tenants.ledger.records import Unreadable, framed, next_whole, read
from tenants.ledger.spool import Spool, SpoolFailed
from tenants.models import SpoolPosition, UsageRow
from tests.tenants.ledger.conftest import log_of, opened, settled, write_call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.persistence]


def test_a_file_cut_at_any_byte_of_its_last_three_records_gives_what_is_whole_before_the_cut() -> (
    None
):
    calls = [opened() for _ in range(3)]
    records = [record for call in calls for record in (call, settled(call))]
    frames = [framed(record) for record in records]
    whole = b"".join(frames)
    ends = [sum(map(len, frames[: number + 1])) for number in range(len(frames))]
    for cut in range(ends[-4], len(whole) + 1):
        found = [record for record, _ in read(whole[:cut])]
        assert found == records[: sum(end <= cut for end in ends)]
        assert not any(isinstance(record, Unreadable) for record in found)


@pytest.mark.parametrize("keep", [1, 9, 60])
def test_a_torn_end_falls_back_to_what_was_written_before_it(spools: Path, keep: int) -> None:
    spool = Spool(spools)
    first, last = write_call(spool), opened()
    spool.append(last)
    torn = framed(settled(last))[:keep]
    with log_of(spool, spools).open("ab") as file:
        file.write(torn)
    spool.close()
    ingest_all(spools)
    statuses = {row.pk.hex: row.status for row in UsageRow.objects.all()}
    assert statuses == {first.id: "completed", last.id: "abandoned"}
    assert [path.name for path in (spools / FOLDER / spool.name).iterdir()] == ["000001.log"]


def test_damage_costs_the_record_it_hit_and_is_told(
    spools: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(spools)
    first, hit, last = (write_call(spool) for _ in range(3))
    spool.close()
    path = log_of(spool, spools)
    data = bytearray(path.read_bytes())
    place = data.index(hit.id.encode())  # in the record that opened it
    data[place] ^= 1
    path.write_bytes(data)
    ingest_all(spools)
    assert {row.pk.hex for row in UsageRow.objects.all()} == {first.id, last.id}
    assert "is damaged" in caplog.text
    archived = [entry.name for entry in (spools / FOLDER / spool.name).iterdir()]
    assert archived == ["000001.log.damaged"]


def test_the_way_past_damage_is_found_from_any_byte_of_it() -> None:
    calls = [opened() for _ in range(2)]
    first, second = (framed(call) for call in calls)
    for offset in range(1, len(first) + 1):
        assert next_whole(first + second, offset) == len(first)
    assert next_whole(first + second, len(first) + 1) is None


def test_after_a_record_that_could_not_be_taken_back_a_new_file_is_begun(spools: Path) -> None:
    spool = Spool(spools)
    torn = opened()
    spool.append(torn)
    write = os.write
    with (
        mock.patch("os.write", lambda file, data: write(file, data[:20])),
        mock.patch("os.ftruncate", side_effect=OSError(5, "Input/output error")),
        pytest.raises(SpoolFailed),
    ):
        spool.append(settled(torn))
    later = [write_call(spool) for _ in range(3)]
    spool.append(settled(torn))
    spool.close()
    ingest_all(spools)
    statuses = {row.pk.hex: row.status for row in UsageRow.objects.all()}
    assert statuses == {call.id: "completed" for call in (torn, *later)}


def test_reading_every_spool_three_times_changes_nothing(spools: Path) -> None:
    spool = Spool(spools, file_bytes=2_000)
    for _ in range(20):
        write_call(spool)
    spool.append(opened())
    spool.close()
    ingest_all(spools)
    first = list(UsageRow.objects.order_by("pk").values())
    assert len(first) == 21
    for _ in range(3):
        (spools / FOLDER / spool.name).rename(spools / spool.name)
        SpoolPosition.objects.all().delete()
        assert ingest_all(spools).rows == 0
        assert list(UsageRow.objects.order_by("pk").values()) == first
