"""Answers lie sealed and bounded in database and memory, and are erased with what they belong to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection

from gateway_project.lib import clock, sealing
from gateway_project.lib.sealing import SealError
from responses_api.cache import erasing, table
from responses_api.cache.answers import CacheLimits
from responses_api.cache.entries import CacheEntry, pack, unpack
from responses_api.cache.memory import AnswerMemory
from responses_api.cache.table import AnswerPlace
from responses_api.models import CachedAnswer
from routing import cache_purge
from routing.models import Alias
from tenants.access.access import OPERATOR
from tenants.deletion import asking, work
from tenants.keys import keys
from tenants.keys.encryption import keyring
from tenants.models import ApiKey, Tenant
from tests.responses_api.cache.conftest import cached, keeps
from tests.support import rows
from tests.support.patience import until
from tests.support.rows import Customer

pytestmark = pytest.mark.persistence

WORD = "a-secret-that-is-said"


def an_entry(text: str = WORD, made_at: float | None = None) -> CacheEntry:
    at = clock.timestamp() if made_at is None else made_at
    return CacheEntry(f'{{"said":"{text}"}}'.encode(), "p", "p/m", (1,) * 8, "provider", at)


def a_place(of: Customer, number: int = 0, **fields: object) -> AnswerPlace:
    place = {
        "key": number.to_bytes(32, "big"),
        "tenant_id": of.tenant.pk,
        "key_id": of.key.pk,
        "alias_id": Alias.objects.get(name="sandbox-chat").pk,
        "generation": 0,
        "expires_at": clock.timestamp() + 60,
    }
    return AnswerPlace(**{**place, **fields})  # type: ignore[arg-type]


def write(of: Customer, *entries: CacheEntry, **fields: object) -> None:
    sealed = [table.seal(a_place(of, n, **fields), each) for n, each in enumerate(entries)]
    with connection.cursor() as cursor:
        table.write_answers(cursor, sealed)


def sweep() -> None:
    for _ in erasing.erase_cached_answers():
        pass


def test_what_is_packed_is_unpacked_as_it_was():
    entry = an_entry()
    assert unpack(pack(entry)) == entry


def test_an_answer_is_sealed_for_its_tenant_and_its_key(acme, bob):
    entry = an_entry()
    write(acme, entry)
    row = CachedAnswer.objects.get()

    assert WORD not in row.sealed_answer
    assert table.find(acme.tenant.pk, bytes(row.key)) == entry
    assert table.find(bob.tenant.pk, bytes(row.key)) is None
    for moved in (f"{bob.tenant.pk}|{bytes(row.key).hex()}", f"{acme.tenant.pk}|{'00' * 31}01"):
        with pytest.raises(SealError):
            sealing.unseal(
                row.sealed_answer, f"responses_api_cachedanswer|sealed_answer|{moved}", keyring()
            )


def test_an_answer_copied_into_another_tenants_row_is_not_opened(acme, bob):
    write(acme, an_entry())
    row = CachedAnswer.objects.get()
    with pytest.raises(IntegrityError, match="stays with its tenant"):
        CachedAnswer.objects.update(tenant=bob.tenant)
    row.pk, row.tenant, row.key_id = b"b" * 32, bob.tenant, bob.key.pk
    row.save(force_insert=True)
    assert table.find(bob.tenant.pk, b"b" * 32) is None


def test_a_revoked_keys_answers_are_not_given_to_others_and_are_erased(ask, gateway, kept, forget):
    keeps("sandbox-chat", cache_scope="tenant")
    gateway.catch_up()
    key, secret = keys.create(kept.tenant, "another")
    other = Customer(kept.tenant, key, secret.reveal())
    ask("chat")
    assert cached(ask("chat", by=other)) == "hit"
    forget()

    keys.revoke(kept.key)
    gateway.catch_up()
    assert cached(ask("chat", by=other)) == "miss"
    forget()
    assert erasing.is_any_due()
    sweep()
    assert list(CachedAnswer.objects.values_list("key_id", flat=True)) == [other.key.pk]
    assert not erasing.is_any_due()


def test_an_answer_that_comes_after_its_key_was_revoked_is_not_written(acme):
    ApiKey.objects.update(revoked_at=clock.now())
    write(acme, an_entry())
    assert not CachedAnswer.objects.exists()


def test_a_suspended_tenants_answers_are_found_by_nobody(acme):
    write(acme, an_entry())
    Tenant.objects.filter(pk=acme.tenant.pk).update(status=Tenant.Status.SUSPENDED)
    assert table.find(acme.tenant.pk, (0).to_bytes(32, "big")) is None
    sweep()
    assert not CachedAnswer.objects.exists()


def test_the_worker_forgets_what_it_has_at_hand_when_the_configuration_changes(ask, gateway, kept):
    ask("chat")
    cache = gateway.worker.state.answer_cache
    assert gateway.call(lambda: cache.size) > 0
    keys.create(kept.tenant, "another")
    gateway.catch_up()
    until(lambda: gateway.call(lambda: cache.size) == 0)


def test_expired_and_purged_answers_and_those_of_deleted_aliases_are_erased(acme):
    alias = Alias.objects.get(name="sandbox-chat")
    gone = Alias.objects.create(name="gone")
    write(acme, an_entry(), an_entry(), an_entry(), an_entry())
    kept_rows = CachedAnswer.objects.order_by("key")
    keys_of = [row.key for row in kept_rows]
    CachedAnswer.objects.filter(key=keys_of[0]).update(
        expires_at=clock.now() - timedelta(seconds=1)
    )
    CachedAnswer.objects.filter(key=keys_of[1]).update(alias_id=gone.pk)
    CachedAnswer.objects.filter(key=keys_of[2]).update(generation=1)
    cache_purge.purge(alias)
    gone.delete()
    sweep()

    assert [bytes(row.key) for row in CachedAnswer.objects.all()] == [bytes(keys_of[2])]


def test_a_tenant_keeps_no_more_than_it_may_and_the_oldest_go_first(acme, bob):
    now = clock.timestamp()
    write(bob, an_entry())
    for number in range(10):
        entry = an_entry("x" * 1000, now - 100 + number)
        sealed = table.seal(a_place(acme, 100 + number), entry)
        with connection.cursor() as cursor:
            table.write_answers(cursor, [sealed])
    size = CachedAnswer.objects.filter(tenant=acme.tenant).first().size  # type: ignore[union-attr]
    table.trim(acme.tenant.pk, 4 * size)

    left = CachedAnswer.objects.filter(tenant=acme.tenant).order_by("created_at")
    assert [int.from_bytes(bytes(row.key), "big") for row in left] == [106, 107, 108, 109]
    assert CachedAnswer.objects.filter(tenant=bob.tenant).count() == 1


def test_the_worker_looks_at_a_tenants_sum_as_it_writes(ask, gateway, forget, monkeypatch):
    cache = gateway.worker.state.answer_cache
    monkeypatch.setattr(cache, "limits", CacheLimits(1 << 20, 6000))
    for number in range(8):
        ask("chat", f"[chunks=300] {number}")
        forget()
    rows = CachedAnswer.objects.all()
    assert 0 < len(rows) < 8
    assert sum(row.size for row in rows) <= 6000


def test_an_answer_that_is_too_large_is_not_kept(ask, gateway):
    for _ in range(2):
        assert cached(ask("chat", "[size=1100000]")) == "miss"
    assert not CachedAnswer.objects.exists()


def test_memory_holds_no_more_than_it_may_and_drops_what_was_used_last():
    entry = an_entry("x" * 1000)
    memory = AnswerMemory(3 * entry.size)
    for name in (b"a", b"b", b"c"):
        memory.put(name, entry)
    memory.get(b"a")
    memory.put(b"d", entry)

    assert [name for name in (b"a", b"b", b"c", b"d") if memory.get(name)] == [b"a", b"c", b"d"]
    assert memory.size == 3 * entry.size
    memory.put(b"e", an_entry("x" * 10**6))
    assert memory.size <= 3 * entry.size


def test_a_deleted_tenants_answers_are_erased_and_another_of_its_name_is_given_none(
    ask, gateway, kept, forget
):
    keeps("sandbox-chat", cache_scope="tenant")
    gateway.catch_up()
    ask("chat")
    forget()
    assert cached(ask("chat")) == "hit"  # and it is at hand again
    asking.ask(kept.tenant, OPERATOR, typed_slug="acme")
    for _ in work.erase_tenants():
        pass
    assert work.remaining(kept.tenant) == {}
    assert not CachedAnswer.objects.exists()

    new = rows.customer("acme")
    gateway.catch_up()

    assert cached(ask("chat", by=new)) == "miss"
    assert len(gateway.sandbox.calls) == 2
