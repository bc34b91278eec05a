"""The log is handed on to a syslog receiver, at least once, in order, and without a gap."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway_project.lib import syslog
from gateway_project.lib.env import Env, SettingError
from gateway_project.lib.syslog import SyslogAddress
from tenants.audit import chain, delivery, events, export
from tenants.models import AuditEvent, AuditPosition, Tenant
from tests.plugins.cases import cases
from tests.support.patience import GIVE_UP_SECONDS

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

HEAD = re.compile(r"<109>1 (\S+) (\S+) tollgate (\d+) (\S+) - (\{.*\})\Z", re.DOTALL)


@pytest.fixture
def tenant() -> Tenant:
    tenant = Tenant.objects.create(slug="acme", name="Äcme")
    for number in range(3):
        events.record("usage.exported", tenant_id=tenant.pk, details={"rows": number})
    return tenant


@contextmanager
def tcp() -> Iterator[tuple[SyslogAddress, list[bytes]]]:
    """Take one connection after the other, and keep what each sent once it has ended."""
    taken: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                stream, _ = server.accept()
            except OSError:  # closed: the test is over
                return
            with stream, stream.makefile("rb") as found:
                taken.append(found.read())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield SyslogAddress("tcp", "127.0.0.1", server.getsockname()[1]), taken
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def unframed(stream: bytes) -> list[str]:
    found = []
    while stream:
        length, _, rest = stream.partition(b" ")
        found.append(rest[: int(length)].decode())
        stream = rest[int(length) :]
    return found


def test_events_reach_a_syslog_receiver_once_and_in_order(tenant: Tenant, settings):
    with tcp() as (settings.AUDIT_SYSLOG, taken):
        assert delivery.is_syslog_behind()
        list(delivery.send_to_syslog())
        assert not delivery.is_syslog_behind()
        list(delivery.send_to_syslog())
        events.record("audit.exported", tenant_id=tenant.pk)
        list(delivery.send_to_syslog())

    messages = [text for stream in taken for text in unframed(stream)]
    found = [HEAD.match(text) for text in messages]
    assert all(found)
    assert [match[4] for match in found if match] == [
        *("tenant.created", *["usage.exported"] * 3, "audit.exported")
    ]
    lines = [match[5] for match in found if match]
    assert lines == [export.line(e) for e in AuditEvent.objects.order_by("sequence")]
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2, 3, 4, 5]


def test_what_a_receiver_did_not_take_is_sent_again(tenant: Tenant, settings):
    with tcp() as (address, _):
        pass
    settings.AUDIT_SYSLOG = address  # nobody listens there any more
    list(delivery.send_to_syslog())
    assert AuditPosition.objects.get().sequence == 0

    with tcp() as (settings.AUDIT_SYSLOG, taken):
        list(delivery.send_to_syslog())
    assert len(unframed(b"".join(taken))) == 4


def test_a_process_that_dies_after_sending_sends_again(tenant: Tenant, settings, monkeypatch):
    def die(_: Any) -> None:
        raise KeyboardInterrupt

    with tcp() as (settings.AUDIT_SYSLOG, taken):
        with monkeypatch.context() as patched:
            patched.setattr(delivery, "advance", die)
            with pytest.raises(KeyboardInterrupt):
                list(delivery.send_to_syslog())
        list(delivery.send_to_syslog())
    assert [len(unframed(stream)) for stream in taken] == [4, 4]


def test_many_events_go_in_batches_and_other_chains_keep_positions_of_their_own(
    tenant: Tenant, settings, monkeypatch
):
    monkeypatch.setattr(delivery, "AT_ONCE", 3)
    events.record("usage.exported")
    with tcp() as (settings.AUDIT_SYSLOG, taken):
        list(delivery.send_to_syslog())
    assert sorted(len(unframed(stream)) for stream in taken) == [1, 1, 3]
    assert dict(AuditPosition.objects.values_list("chain", "sequence")) == {0: 1, tenant.pk: 4}


def test_an_event_that_became_visible_late_is_not_skipped(tenant: Tenant, settings, monkeypatch):
    """Its id is older than those that were sent; its number is not."""
    with monkeypatch.context() as patched:
        patched.setattr(chain, "join_after_commit", lambda _: None)
        events.record("audit.pruned", tenant_id=tenant.pk)
    late = AuditEvent.objects.filter(sequence=None)
    hidden = list(late.values())
    with tcp() as (settings.AUDIT_SYSLOG, taken):
        list(delivery.send_to_syslog())
        assert hidden
        chain.join_pending()
        list(delivery.send_to_syslog())
    assert "audit.pruned" in unframed(taken[-1])[0]


def test_events_are_sent_as_datagrams(tenant: Tenant, settings):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(GIVE_UP_SECONDS)
        settings.AUDIT_SYSLOG = SyslogAddress("udp", "127.0.0.1", receiver.getsockname()[1])
        list(delivery.send_to_syslog())
        found = [HEAD.match(receiver.recv(65536).decode()) for _ in range(4)]
    assert [match[4] for match in found if match] == ["tenant.created", *["usage.exported"] * 3]


def test_without_a_receiver_nothing_is_sent(tenant: Tenant):
    assert not delivery.is_syslog_behind()
    assert list(delivery.send_to_syslog()) == []


@cases(
    "given",
    [
        "logs.example:514",
        "http://logs.example",
        "udp://",
        "udp://h:99999",
        "tcp://u:p@h",
        "udp://h/x",
    ],
)
def test_an_address_that_cannot_be_used_is_named(given: str):
    with pytest.raises(SettingError, match="TOLLGATE_AUDIT_SYSLOG"):
        Env({"TOLLGATE_AUDIT_SYSLOG": given}).syslog_address("TOLLGATE_AUDIT_SYSLOG")


def test_ports_have_defaults_and_ipv6_is_an_address():
    assert SyslogAddress.parse("udp://logs.example") == SyslogAddress("udp", "logs.example", 514)
    assert SyslogAddress.parse("tcp://[::1]:601").host == "::1"
    assert syslog.message(AuditEvent().at, "a b", "{}").split(b" ")[5] == b"ab"
