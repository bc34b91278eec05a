"""One call as `Exchange`, `Dispatch` and `Attempt` make it, in memory.

The provider is the sandbox on a network in memory, the client a list of messages, the ledger a list of
records, and the database says yes to every draw.

`play` runs it, and does something to it before a certain turn of the loop, if it is told to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from gateway_project.lib.metrics.tables import Tables
from gateway_project.lib.presence import Presence
from gateway_project.lib.rounds import Rounds
from gateway_project.lib.structure import Caps
from gateway_project.sandbox.connection import SandboxConnection
from gateway_project.sandbox.faults import PREFIX
from gateway_project.sandbox.server import SandboxServer
from responses_api.accounting.call_metrics import CallMetrics
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.calls.admission import Admitted
from responses_api.calls.exchange import Exchange
from responses_api.calls.progress import Phase
from responses_api.calls.watchdog import SILENT
from responses_api.doors.registry import DOORS
from responses_api.process.interruption import Interruption
from responses_api.process.registry import Registry
from responses_api.process.response_writer import HttpResponseWriter
from responses_api.process.timeouts import Timeouts
from responses_api.stream.upstream_reader import Identity
from routing.health.table import LaneTable
from routing.protocols.shared.envelope import Maker
from routing.route import Quirks, ResolvedTarget, Route
from routing.upstream.transport import Transport
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.leases import Draw, DrawResult
from tenants.budgets.terms import BudgetTerms
from tenants.budgets.zones import Switch
from tenants.keys.caller import Caller
from tenants.ledger.records import Opened, Settled
from tenants.prices.history import History
from tenants.prices.rating import Line, terms
from tests.support.virtual_loop import HOST, VirtualLoop

SANDBOX, DEAF, REFUSING, NO_TLS = 8001, 8002, 8003, 8004
OWN_PORTS = {
    "accept-silence": f"http://{HOST}:{DEAF}/v1",
    "connect-refused": f"http://{HOST}:{REFUSING}/v1",
    "tls-fail": f"https://{HOST}:{NO_TLS}/v1",
}
SOUND = "sandbox-1"
REQUEST_ID = "req_" + "0" * 32
PRICES = History(
    (terms(1, 0.0, [Line("input_fresh", 1_000_000), Line("output_visible", 10_000_000)]),)
)
BUDGETS = (BudgetTerms(1, "total", (Switch("UTC"),), is_hard=True),)
BLOCK_NANO = 10_000_000_000
CALLER = Caller(
    key_id=1,
    key_public_id="0123456789",
    tenant_id=1,
    tenant_slug="acme",
    scopes=frozenset({"generate"}),
    all_aliases=True,
    allow_direct_targets=False,
    networks=(),
    expires_at=None,
    budgets=BUDGETS,
    fee_budgets=BUDGETS,
)
# Longer than any time limit of a call.
BREAKS_AFTER_SECONDS = 1.0
# As the sandbox paces its pieces, 5 ms apart, so that an answer in pieces is a quarter of each limit.
TIMEOUTS = Timeouts(
    first_byte=0.1, idle=0.1, total=0.15, total_stream=0.3, commit=0.03, keepalive=0.03, send_stall=0.08
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A question, and whom it is put to: the models of the targets, in order."""

    door: str
    protocol: str
    stream: bool
    models: tuple[str, ...]
    text: str = "[pace=5] Hi"

    @property
    def body(self) -> bytes:
        said = [{"role": "user", "content": self.text}]
        key = "messages" if self.door == "chat" else "input"
        asked = {"model": "m", key: said, "stream": self.stream, "store": True}
        return json.dumps(asked).encode()


@dataclass
class Seen:
    """Holds how a call ended. It took so many `turns` and was settled in turn `ended_at`. `posts` tells
    of each upstream call whether there was output before it; `left_over` names what had not ended three
    seconds later."""

    turns: int = 0
    ended_at: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    records: list[Any] = field(default_factory=list)
    stored: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    posts: list[bool] = field(default_factory=list)
    calls: list[Any] = field(default_factory=list)
    was_cancelled: bool = False
    left_over: list[str] = field(default_factory=list)
    # When something was done to it
    was_over: bool = False
    posts_before: int | None = None

    @property
    def status(self) -> int | None:
        return self.messages[0]["status"] if self.messages else None

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.messages)

    @property
    def is_whole(self) -> bool:
        """Tell whether the client saw the body's proper end."""
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)

    @property
    def opened(self) -> list[Opened]:
        return [record for record in self.records if isinstance(record, Opened)]

    @property
    def settled(self) -> list[Settled]:
        return [record for record in self.records if isinstance(record, Settled)]

    @property
    def outcome(self) -> tuple[str, str | None]:
        (line,) = self.log
        return line["status"], line["error"]


def play(call: Call, turn: int = 0, do: str = "") -> Seen:
    """Make the call from its beginning to its end; `do` one of `DEEDS` before that turn. The loop is a new
    one, so that the same call takes the same turns."""
    loop = VirtualLoop()
    world = World(loop)
    try:
        return loop.run_until_complete(world.play(call, turn, do))
    finally:
        for task in asyncio.all_tasks(loop):  # of a call that did not end
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class World:
    """The services of a worker, and what is around it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.sandbox = SandboxServer(host=HOST, port=SANDBOX)
        loop.listen(SANDBOX, lambda: SandboxConnection(self.sandbox, loop))
        loop.listen(DEAF, None)
        loop.listen(NO_TLS, None)

    async def play(self, call: Call, turn: int, do: str) -> Seen:
        seen, client = Seen(), _Client()
        transport = _Transport(seen)
        services = self._services(seen, transport)
        exchange = transport.exchange = Exchange(
            services,
            _admitted(call, seen),
            HttpResponseWriter(client.take, REQUEST_ID, render=DOORS[call.door].error),
            Identity("resp_1" if call.door == "responses" else "chatcmpl-1", "m", 0),
        )
        task = self.loop.create_task(exchange.run(client.presence))
        self.loop.begin()
        if do:
            self.loop.at_turn(turn, lambda: self._do(do, exchange, task, client, services, seen))
        try:
            await task
        except asyncio.CancelledError:
            seen.was_cancelled = True
        seen.turns = self.loop.turn
        seen.messages = client.messages
        await self._end(services, seen)
        return seen

    def _services(self, seen: Seen, transport: Transport) -> Any:
        loop = self.loop

        def write_log(line: dict[str, Any]) -> None:
            seen.log.append(line)
            seen.ended_at = loop.turn

        spool_writer = SpoolWriter(_Spool(seen.records))  # type: ignore[arg-type]
        return SimpleNamespace(
            loop=loop,
            spool_writer=spool_writer,
            budgets=BudgetLeases(_granted, "memory"),
            transport=transport,
            registry=Registry(),
            timeouts=TIMEOUTS,
            rounds=Rounds(loop),
            request_log=SimpleNamespace(write=write_log),
            lane_health=LaneTable(chance=lambda: 0.99),
            refusals=SimpleNamespace(write=lambda refused: None),
            metrics=CallMetrics(Tables()),
        )

    def _do(
        self, do: str, exchange: Exchange, task: Any, client: _Client, services: Any, seen: Seen
    ) -> None:
        seen.was_over = bool(seen.log) or exchange.progress.phase is Phase.STORING or task.done()
        seen.posts_before = len(seen.posts)
        DEEDS[do](exchange, task, client, services)

    async def _end(self, services: Any, seen: Seen) -> None:
        """Let what the call left behind come to its end, and say what does not."""
        await asyncio.sleep(3)
        open_connections = services.transport.open_connections
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        seen.left_over = [task.get_name() for task in tasks]
        seen.left_over += ["a connection"] * open_connections + ["a call"] * len(services.registry)
        (lease,) = list(services.budgets) or [None]
        charged = sum(sum(record.charges_nano) + record.waived_nano for record in seen.settled)
        if lease is not None and (lease.held or lease.granted != lease.free + charged):
            seen.left_over.append(f"{lease.held} held, {lease.granted - lease.free - charged} lost")
        await services.transport.close()
        await asyncio.sleep(0.1)
        seen.calls = list(self.sandbox.calls)
        seen.left_over += [f"call {each.number}" for each in seen.calls if each.ended is None]


class _Client:
    """A client. One that `stalls` takes nothing more, until its connection breaks."""

    def __init__(self) -> None:
        self.presence = Presence()
        self.messages: list[dict[str, Any]] = []
        self.stalls = False

    async def take(self, message: Mapping[str, Any]) -> None:
        if self.stalls:
            await asyncio.sleep(BREAKS_AFTER_SECONDS)
            self.presence.leave()
        else:
            self.messages.append(dict(message))
            await asyncio.sleep(0)


class _Transport(Transport):
    """The product's transport; it notes whether there was any output when a call was sent."""

    exchange: Exchange

    def __init__(self, seen: Seen) -> None:
        super().__init__(connect_seconds=0.05, pool_wait_seconds=0.05, max_connections=4)
        self._seen = seen

    async def post(self, *args: Any, **kwargs: Any) -> Any:
        first_output_at = self.exchange.progress.first_output_at
        self._seen.posts.append(first_output_at is not None or len(self._seen.stored) > 0)
        return await super().post(*args, **kwargs)


class _Spool:
    name, healthy, waits_for_disk = "memory", True, True

    def __init__(self, records: list[Any]) -> None:
        self.append = records.append

    async def durable(self) -> None:
        await asyncio.sleep(0)


class _Store:
    """A store that takes two turns."""

    def __init__(self, stored: list[dict[str, Any]]) -> None:
        self._stored = stored

    async def save(self, answer: dict[str, Any], maker: Maker, closing: bytes) -> None:
        await asyncio.sleep(0.001)
        self._stored.append(answer)


async def _granted(order: Any) -> Any:
    """Be the database of the budgets, which has plenty."""
    await asyncio.sleep(0.001)
    if not isinstance(order, Draw):
        return None
    granted = tuple(part.known + max(part.need, BLOCK_NANO) for part in order.parts)
    return DrawResult(granted, 100 * BLOCK_NANO)


def _admitted(call: Call, seen: Seen) -> Admitted:
    door = DOORS[call.door]
    targets = tuple(
        _target(call.protocol, model, f"{number}-{model}")
        for number, model in enumerate(call.models)
    )
    return Admitted(
        request_id=REQUEST_ID,
        door=door,
        caller=CALLER,
        call=door.decode(call.body, Caps()),
        route=Route("m", native_only=False, drop_unsupported=False, targets=targets),
        targets=targets,
        upstream_headers={"accept": "*/*", "x-request-id": REQUEST_ID},
        store=_Store(seen.stored),
    )


def _target(protocol: str, model: str, provider: str) -> ResolvedTarget:
    return ResolvedTarget(
        provider=provider,
        protocol=protocol,
        base_url=OWN_PORTS.get(model.removeprefix(PREFIX), f"http://{HOST}:{SANDBOX}/v1"),
        auth_kind="none",
        secret=None,
        owns_credential=False,
        missing_credential=False,
        allow_private_network=True,
        quirks=Quirks(),
        model=model,
        context_window=None,
        max_output_tokens=500,
        capabilities=frozenset(),
        cost=PRICES,
        charge=PRICES,
    )


def _stall(exchange: Exchange, task: Any, client: _Client, services: Any) -> None:
    client.stalls = True


def _show_life(exchange: Exchange, task: Any, client: _Client, services: Any) -> None:
    """Do what the watchdog does where a stream has said nothing for a while."""
    if exchange.streams and exchange.progress.phase in SILENT:
        exchange.show_life()


def _interrupts(why: Interruption) -> Callable[..., None]:
    return lambda exchange, *_: exchange.interrupt(why)


# What may happen to a call from outside, by name.
DEEDS: dict[str, Callable[..., None]] = {
    "client leaves": lambda exchange, task, client, services: client.presence.leave(),
    "client stalls": _stall,
    "server cancels": lambda exchange, task, client, services: task.cancel(),
    "drain": lambda exchange, task, client, services: services.registry.interrupt_all(),
    "sign of life": _show_life,
    **{
        why.value: _interrupts(why)
        for why in (Interruption.CANCELLED, Interruption.REVOKED, Interruption.RUN_ENDED)
    },
}
