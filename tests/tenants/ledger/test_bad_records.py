"""A record that cannot be read or booked is set aside, and nothing else suffers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from routing.protocols.chat import usage
from tenants.ledger import ingest, set_aside
from tenants.ledger.ingest import ingest_all
from tenants.ledger.spool import Spool
from tenants.models import UsageRow
from tests.tenants.ledger.conftest import log_of, opened, settled, write_call

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.persistence]


def kept(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / set_aside.FILE).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_count_no_column_holds_keeps_neither_its_own_spool_nor_others_from_being_booked(
    spools: Path,
) -> None:
    bad, good = Spool(spools, host="a"), Spool(spools, host="b")
    before = write_call(bad)
    call = opened()
    bad.append(call)
    bad.append(settled(call, 10**30))
    after = write_call(bad)
    other = write_call(good)
    for spool in (bad, good):
        spool.close()
    found = ingest_all(spools)
    assert (found.rows, found.set_aside, found.failed) == (3, 1, 0)
    assert {row.pk.hex for row in UsageRow.objects.all()} == {before.id, after.id, other.id}
    (line,) = kept(spools)
    assert line["spool"] == bad.name
    assert call.id == line["record"]["id"].replace("-", "")


def test_a_record_of_a_version_to_come_is_set_aside(spools: Path) -> None:
    spool = Spool(spools)
    write_call(spool)
    body = b'{"type":"future","id":"x"}'
    with log_of(spool, spools).open("ab") as file:
        file.write(struct.pack(">II", len(body), crc32(body)) + body)
    write_call(spool)
    spool.close()
    assert ingest_all(spools).rows == 2
    (line,) = kept(spools)
    assert line["record"] == body.decode()
    assert "future" in line["reason"]


def test_text_is_booked_without_nul_and_as_long_as_its_column(spools: Path) -> None:
    spool = Spool(spools)
    call = opened(service_tier="x\0y" + "z" * 100, alias="a\0b" * 500, end_user="\0")
    spool.append(call)
    spool.append(settled(call, service_tier="\0fast\0", error_code="\0e"))
    spool.close()
    ingest_all(spools)
    row = UsageRow.objects.get()
    assert (row.service_tier, row.error_code, row.end_user) == ("fast", "e", "")
    assert row.alias.startswith("abab")


def test_a_spool_that_cannot_be_read_keeps_no_other_from_being_read(spools: Path) -> None:
    bad, good = Spool(spools, host="a"), Spool(spools, host="b")
    write_call(bad)
    write_call(good)
    for spool in (bad, good):
        spool.close()
    in_the_way = spools / bad.name / ingest.INGEST_LOCK
    in_the_way.mkdir()
    found = ingest_all(spools)
    assert (found.rows, found.failed) == (1, 1)
    in_the_way.rmdir()
    found = ingest_all(spools)
    assert (found.rows, found.failed) == (1, 0)


def test_a_fault_of_ours_leaves_the_records_in_their_spool(
    spools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(spools)
    call = write_call(spool)
    spool.close()
    monkeypatch.setattr(
        "tenants.ledger.reader.booking.book", None
    )  # a TypeError for whoever calls it
    found = ingest_all(spools)
    assert (found.rows, found.set_aside, found.failed) == (0, 0, 1)
    monkeypatch.undo()
    assert ingest_all(spools).rows == 1
    assert UsageRow.objects.get().pk.hex == call.id


def test_a_count_beyond_reason_is_an_anomaly_and_not_believed() -> None:
    report = {"prompt_tokens": 10**30, "completion_tokens": 5}
    counted = usage.read(report)
    assert counted.anomaly
    assert counted.input_fresh == 0  # the gateway counts it instead
    assert counted.output_total == 5
    assert report["prompt_tokens"] == 10**30
