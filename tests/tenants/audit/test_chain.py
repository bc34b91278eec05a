"""Events are chained, signed and kept: what is changed, removed or put in is found, and named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from gateway_project.lib import clock
from tenants import triggers
from tenants.audit import (
    chain,
    checkpoints,
    events,
    export,
    jobs,
    known_hashes,
    pruning,
    verifying,
)
from tenants.models import AuditChain, AuditCheckpoint, AuditEvent, Tenant

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def log(tenant: Tenant) -> Tenant:
    """A tenant's chain of ten events."""
    with transaction.atomic():
        for number in range(9):
            events.record("usage.exported", tenant_id=tenant.pk, details={"rows": number})
    assert AuditChain.objects.get(chain=tenant.pk).last_sequence == 10
    return tenant


@pytest.fixture
def unguarded() -> Iterator[None]:
    """An attacker who may do everything in the database, and takes its triggers out first."""
    triggers.remove()
    yield
    triggers.install()


def sign() -> None:
    list(checkpoints.sign_all())


def verdict(tenant: Tenant) -> tuple[int | None, str]:
    found = verifying.verify(tenant.pk)
    return found.bad_sequence, found.problem


def event(tenant: Tenant, sequence: int) -> Any:
    return AuditEvent.objects.filter(chain=tenant.pk, sequence=sequence)


def test_each_chain_is_numbered_by_itself_and_leads_from_hash_to_hash(log: Tenant):
    other = Tenant.objects.create(slug="other", name="Other")
    events.record("usage.exported")

    mine = list(AuditEvent.objects.filter(chain=log.pk).order_by("sequence"))
    assert [e.sequence for e in mine] == list(range(1, 11))
    assert [e.previous_hash for e in mine] == [chain.START, *(e.hash for e in mine[:-1])]
    for number in (other.pk, 0):
        assert AuditEvent.objects.get(chain=number).sequence == 1
    assert [verifying.verify(n).is_whole for n in verifying.chains()] == [True] * 3


def test_an_exported_chain_can_be_verified_with_nothing_but_sha_256(log: Tenant):
    previous = chain.START
    for line in export.lines([log.pk]):
        said = json.loads(line)
        found = said.pop("hash")
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == found
        assert said["previous_hash"] == previous
        previous = found
    assert previous == AuditChain.objects.get(chain=log.pk).last_hash


def test_an_event_that_a_dying_process_left_without_a_place_gets_one(tenant: Tenant, monkeypatch):
    monkeypatch.setattr(chain, "join_after_commit", lambda _: None)
    events.record("usage.exported", tenant_id=tenant.pk)
    assert verifying.verify(tenant.pk).unjoined == 1

    list(jobs.join_events())

    assert verifying.verify(tenant.pk).unjoined == 0
    assert AuditChain.objects.get(chain=tenant.pk).last_sequence == 2


def test_more_events_than_are_joined_at_once_keep_their_order(tenant: Tenant, monkeypatch):
    monkeypatch.setattr(chain, "AT_ONCE", 3)
    with transaction.atomic():
        for number in range(8):
            events.record("usage.exported", tenant_id=tenant.pk, details={"rows": number})

    told = AuditEvent.objects.filter(action="usage.exported").order_by("sequence")
    assert [json.loads(e.details)["rows"] for e in told] == list(range(8))
    assert verdict(tenant) == (None, "")


def test_an_event_in_a_savepoint_that_is_undone_does_not_take_the_others_places(tenant: Tenant):
    with transaction.atomic():
        try:
            with transaction.atomic():
                events.record("usage.exported", tenant_id=tenant.pk)
                raise RuntimeError
        except RuntimeError:
            events.record("audit.exported", tenant_id=tenant.pk)

    assert AuditEvent.objects.get(action="audit.exported").sequence == 2
    assert not AuditEvent.objects.filter(action="usage.exported").exists()


def refused(work: Any) -> bool:
    try:
        with transaction.atomic():
            work()
    except IntegrityError:
        return True
    return False


def test_the_database_refuses_to_change_or_remove_what_is_written(log: Tenant):
    sign()
    rows, ends = AuditEvent.objects.filter(chain=log.pk), AuditChain.objects.filter(chain=log.pk)
    changes = [
        *({name: "x"} for name in ("action", "actor_name", "reason", "changes", "details", "hash")),
        {"sequence": 99},
        {"at": clock.now()},
        {"tenant": None, "chain": 0},
    ]
    for values in changes:
        assert refused(lambda values=values: rows.update(**values)), values
    assert refused(rows.delete)
    assert refused(lambda: ends.update(last_sequence=3))
    assert refused(lambda: ends.update(pruned_sequence=9))  # not a checkpoint
    assert refused(ends.delete)
    assert refused(lambda: AuditCheckpoint.objects.update(hash="x"))
    assert refused(AuditCheckpoint.objects.all().delete)
    assert verdict(log) == (None, "")


def test_an_event_without_a_place_is_kept_as_well(tenant: Tenant, monkeypatch):
    monkeypatch.setattr(chain, "join_after_commit", lambda _: None)
    events.record("usage.exported", tenant_id=tenant.pk)
    rows = AuditEvent.objects.filter(sequence=None)

    assert refused(lambda: rows.update(action="x"))
    assert refused(rows.delete)


def test_damage_is_found_and_the_first_bad_number_named(log: Tenant, unguarded: None):
    """Each in a transaction that is undone."""

    def copy(**fields: Any) -> None:
        row = event(log, 5).get()
        row.pk = None
        for name, value in {"id": events.next_id(), **fields}.items():
            setattr(row, name, value)
        row.save(force_insert=True)

    def rewrite_from(number: int) -> None:
        """Change one event, and compute everything after it anew: only the signature tells."""
        event(log, number).update(details='{"rows":0}')
        end = AuditChain.objects.get(chain=log.pk)
        previous = event(log, number).get().previous_hash
        for row in AuditEvent.objects.filter(chain=log.pk, sequence__gte=number).order_by(
            "sequence"
        ):
            row.previous_hash = previous
            row.hash = previous = chain.digest(row)
            row.save()
        AuditChain.objects.filter(pk=end.pk).update(last_hash=previous)

    def cut(to: int) -> None:
        AuditEvent.objects.filter(chain=log.pk, sequence__gt=to).delete()

    def cut_cleanly() -> None:
        cut(6)
        last = event(log, 6).get()
        AuditChain.objects.filter(chain=log.pk).update(last_sequence=6, last_hash=last.hash)

    def replace() -> None:
        row = event(log, 5).get()
        event(log, 5).delete()
        row.action = "audit.exported"
        row.hash = chain.digest(row)
        row.save(force_insert=True)

    def forge() -> None:
        AuditCheckpoint.objects.filter(chain=log.pk).update(signature="0" * 64)

    sign()
    damages: list[tuple[Any, int, str]] = [
        (lambda: event(log, 5).update(actor_name="bob"), 5, "was changed"),
        (lambda: event(log, 5).update(details="{"), 5, "was changed"),
        (lambda: event(log, 1).update(tenant=None, chain=0), 1, "was removed"),
        (lambda: event(log, 5).delete(), 5, "was removed"),
        (replace, 5, "event 6 was chained to"),
        (lambda: cut(6), 7, "goes on to 10"),
        (cut_cleanly, 7, "was signed up to 10"),
        (lambda: AuditChain.objects.filter(chain=log.pk).delete(), 1, "signed up to 10"),
        (lambda: copy(sequence=11), 11, "put in"),
        (lambda: rewrite_from(5), 10, "signed on"),
        (forge, 10, "not ours"),
        (lambda: AuditChain.objects.update(pruned_sequence=4), 4, "without a checkpoint"),
    ]
    for damage, number, words in damages:
        with transaction.atomic():
            damage()
            bad, problem = verdict(log)
            transaction.set_rollback(True)
        assert bad == number, (words, bad, problem)
        assert words in problem
    assert verdict(log) == (None, "")


def test_a_cut_end_shows_only_where_it_was_signed(log: Tenant, unguarded: None):
    """After the last checkpoint it cannot be told; that is said, not hidden."""
    sign()
    events.record("usage.exported", tenant_id=log.pk)
    assert verifying.verify(log.pk).last_sequence == 11

    event(log, 11).delete()
    last = event(log, 10).get()
    AuditChain.objects.filter(chain=log.pk).update(last_sequence=10, last_hash=last.hash)

    found = verifying.verify(log.pk)
    assert (found.is_whole, found.signed_sequence) == (True, 10)


def test_what_is_known_elsewhere_finds_what_the_database_cannot_tell(log: Tenant, unguarded: None):
    """A chain without its end, without its checkpoints, without anything, and one that was signed anew."""
    sign()
    lines = list(export.lines([log.pk]))
    known = known_hashes.read(lines)
    assert list(known) == [log.pk]

    def cut_with_checkpoint(to: int) -> None:
        AuditEvent.objects.filter(chain=log.pk, sequence__gt=to).delete()
        AuditCheckpoint.objects.filter(chain=log.pk, sequence__gt=to).delete()
        AuditChain.objects.filter(chain=log.pk).update(
            last_sequence=to, last_hash=event(log, to).values_list("hash", flat=True).first() or ""
        )

    def write_on() -> None:
        """Put other events where the end was, chained and signed as they should be."""
        cut_with_checkpoint(6)
        for _ in range(5):
            events.record("usage.exported", tenant_id=log.pk)
        sign()

    for damage, number, words in (
        (lambda: cut_with_checkpoint(6), 7, "event 10 is known"),
        (lambda: cut_with_checkpoint(0), 1, "event 10 is known"),
        (write_on, 7, "whose hash is known"),
    ):
        with transaction.atomic():
            damage()
            if damage is write_on:
                chain.join_pending()
            unaware = verifying.verify(log.pk)
            found = verifying.verify(log.pk, known=known[log.pk])
            transaction.set_rollback(True)
        assert (unaware.is_whole, found.bad_sequence) == (True, number)
        assert words in found.problem
    whole = verifying.verify(log.pk, known=known[log.pk])
    assert (whole.is_whole, whole.compared) == (True, 10)


def test_a_chain_is_signed_when_it_has_grown(log: Tenant):
    sign()
    sign()
    assert AuditCheckpoint.objects.filter(chain=log.pk).count() == 1
    events.record("usage.exported", tenant_id=log.pk)
    sign()
    assert list(
        AuditCheckpoint.objects.filter(chain=log.pk)
        .order_by("pk")
        .values_list("sequence", flat=True)
    ) == [10, 11]


def test_a_checkpoint_whose_key_is_gone_is_noted_and_no_damage(log: Tenant, unguarded: None):
    sign()
    AuditCheckpoint.objects.update(key_id="gone")

    found = verifying.verify(log.pk)

    assert (found.is_whole, found.signed_sequence) == (True, 0)
    assert "'gone'" in found.notes[0]


def age(days: int, monkeypatch: Any) -> None:
    later = clock.timestamp() + days * 86_400
    monkeypatch.setattr(clock, "timestamp", lambda: later)


def test_pruning_ends_at_a_signed_checkpoint_and_leaves_a_verifiable_chain(
    log: Tenant, monkeypatch, settings
):
    settings.AUDIT_DAYS = 30
    monkeypatch.setattr(pruning, "BATCH", 4)
    sign()
    events.record("usage.exported", tenant_id=log.pk)  # not signed before it is old
    list(pruning.prune())
    assert event(log, 1).exists()  # not old

    age(31, monkeypatch)
    list(pruning.prune())

    kept = list(AuditEvent.objects.filter(chain=log.pk).order_by("sequence"))
    assert [(e.sequence, e.action) for e in kept] == [(11, "usage.exported"), (12, "audit.pruned")]
    assert json.loads(kept[1].details)["through_sequence"] == 10
    found = verifying.verify(log.pk)
    assert (found.is_whole, found.first_sequence, found.signed_sequence) == (True, 11, 10)
    list(pruning.prune())
    assert AuditChain.objects.get(chain=log.pk).pruned_sequence == 10


def test_a_chain_that_is_pruned_to_its_end_goes_on(log: Tenant, monkeypatch, settings):
    settings.AUDIT_DAYS = 30
    sign()
    age(31, monkeypatch)
    list(pruning.prune())
    events.record("usage.exported", tenant_id=log.pk)

    assert verdict(log) == (None, "")
    assert AuditChain.objects.get(chain=log.pk).last_sequence == 12


def test_what_is_damaged_or_to_be_kept_for_ever_is_not_pruned(
    log: Tenant, monkeypatch, settings, unguarded: None
):
    sign()
    event(log, 5).update(actor_name="bob")
    age(1_000, monkeypatch)
    for days in (0, 30):
        settings.AUDIT_DAYS = days
        list(pruning.prune())
        assert AuditEvent.objects.filter(chain=log.pk).count() == 10


def test_events_of_a_deleted_tenant_stay(log: Tenant):
    number = log.pk
    log.delete()

    found = verifying.verify(number)

    assert (found.is_whole, found.last_sequence) == (True, 11)
    assert AuditEvent.objects.get(chain=number, sequence=11).action == "tenant.deleted"


def test_a_day_later_the_job_signs_and_prunes(log: Tenant, monkeypatch, settings):
    settings.AUDIT_DAYS = 1
    list(jobs.keep_log())
    age(2, monkeypatch)
    list(jobs.keep_log())
    assert not event(log, 10).exists()
    assert verifying.verify(log.pk).is_whole


def test_the_hashed_form_is_the_same_on_every_database():
    """A fixed event has a fixed hash: a change of the form would break every chain there is."""
    made = AuditEvent(
        id="0198d4f0-7b3a-7c00-8000-000000000001",
        chain=5,
        tenant_id=5,
        sequence=3,
        at=clock.now().replace(2026, 1, 2, 3, 4, 5, 6),
        actor_kind="person",
        actor_id="7",
        actor_name="Änne",
        address="192.0.2.7",
        action="api_key.changed",
        object_type="api_key",
        object_id="1",
        object_name="key",
        changes='{"name":["a","b"]}',
        previous_hash=chain.START,
    )
    assert chain.digest(made) == "a74de73709bded2713f5fb5cd1c43b9dac217eca3876fd5d729d3801709a9260"


def test_a_transaction_that_stays_open_holds_up_no_other_writer(log: Tenant):
    """Not of other chains, and not even of its own: SQLite has one writer whatever it writes."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer")
    other = Tenant.objects.create(slug="other", name="Other")

    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        for tenant in (log, other):
            events.record("audit.exported", tenant_id=tenant.pk)
        connection.close()

    with transaction.atomic():
        events.record("usage.exported", tenant_id=log.pk)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(write).result()

    told = AuditEvent.objects.filter(chain=log.pk).order_by("sequence")
    assert [e.action for e in told][-2:] == ["audit.exported", "usage.exported"]
    assert [verifying.verify(each.pk).is_whole for each in (log, other)] == [True, True]
