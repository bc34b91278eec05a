"""The sandbox server: routes requests to protocols, plays faults and scripts, and keeps the log."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import orjson

from gateway_project.lib.json import Json
from gateway_project.sandbox import errors, faults, models, plan
from gateway_project.sandbox.connection import SandboxConnection
from gateway_project.sandbox.fault_ports import FaultPorts
from gateway_project.sandbox.frames import Frames, StreamTally
from gateway_project.sandbox.http import ReceivedRequest
from gateway_project.sandbox.log import LogFile, LoggedCall
from gateway_project.sandbox.protocols import PROTOCOLS, Protocol
from gateway_project.sandbox.reply import EVENT_STREAM, Headers, SandboxReply, Scripted, whole
from gateway_project.sandbox.scene import Scene
from gateway_project.sandbox.stamp import Stamp, base_of

DEFAULT_REMEMBERED_CALLS = 10_000
EARLY_MODEL = f'"{faults.PREFIX}early-response"'.encode()


class SandboxServer:
    """A fake AI provider on a port of its own.

    Everything it says follows from the request, the number of the call and the clock. It starts no
    task: the connections run on callbacks, and `stop` returns when the last of them is gone.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        log_path: str | None = None,
        log_bodies: bool = False,
        remembered_calls: int = DEFAULT_REMEMBERED_CALLS,
        require_key: str | None = None,
        clock: Callable[[], float] = time.time,
        seed: str = "sandbox",
        listener: socket.socket | None = None,
    ) -> None:
        self._listener = listener
        self.host = host
        self.port = port
        self.calls: deque[LoggedCall] = deque(maxlen=remembered_calls)
        self.fault_urls: dict[str, str] = {}
        self._log = LogFile(log_path, log_bodies) if log_path else None
        self.require_key = require_key
        self._clock = clock
        self._seed = seed
        self._count = 0
        self._running = 0
        self._scripts: dict[str, deque[Scripted]] = {}
        self._connections: set[SandboxConnection] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._ports = FaultPorts(host)
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    @property
    def running_calls(self) -> int:
        return self._running

    async def start(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        where = {"host": self.host, "port": self.port}
        self._server = await loop.create_server(
            lambda: SandboxConnection(self, loop),
            backlog=4096,
            **(where if self._listener is None else {"sock": self._listener}),
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.fault_urls = await self._ports.open()

    async def stop(self) -> None:
        """Close the ports and every connection, and wait until they are gone."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._ports.close()
        for connection in list(self._connections):
            connection.stop()
        await self._until(lambda: not self._connections)
        if self._log is not None:
            self._log.close()
            self._log = None

    async def __aenter__(self) -> "SandboxServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def idle(self) -> None:
        """Wait until no call is in progress."""
        await self._until(lambda: not self._running)

    @property
    def received_calls(self) -> int:
        """Count the calls that have come in since the start."""
        return self._count

    async def received(self, count: int) -> None:
        """Wait until this many calls have come in since the start."""
        await self._until(lambda: self._count >= count)

    def script(self, model: str, *answers: Scripted) -> None:
        """Answer calls for this model with these raw answers in turn; the last one repeats."""
        self._scripts[model] = deque(answers)

    def hurry(self, said: str = "") -> None:
        """Let answers that wait, or are paced, go on at once: all that are being given now, or those to
        questions with this text. May be called from any thread.
        """
        self._loop.call_soon_threadsafe(self._hurry, said)

    def _hurry(self, said: str) -> None:
        for connection in list(self._connections):
            connection.hurry(said)

    def forget(self) -> None:
        """Forget the calls received and the scripts."""
        self.calls.clear()
        self._scripts.clear()

    # What connections ask of their desk.

    def opened(self, connection: SandboxConnection) -> None:
        self._connections.add(connection)

    def closed(self, connection: SandboxConnection) -> None:
        self._connections.discard(connection)
        self._wake()

    def finished(self, call: LoggedCall) -> None:
        self._running -= 1
        if self._log is not None:
            self._log.write(call)
        self._wake()

    def answer(self, request: ReceivedRequest) -> tuple[LoggedCall, SandboxReply]:
        call = self._admit(request)
        protocol = PROTOCOLS.get(request.path)
        call.protocol = protocol.name if protocol else None
        stamp = Stamp(base_of(self._seed, call.number), int(self._clock()), "")
        headers = _headers(call.protocol, stamp)
        if protocol is not None and request.method == "POST":
            return call, self._generate(call, protocol, request, stamp, headers)
        return call, self._plain(call, request, stamp, headers)

    def answer_early(
        self, request: ReceivedRequest, start: bytes
    ) -> tuple[LoggedCall, SandboxReply] | None:
        """Answer a request whose body has only begun, if its model asks for that."""
        protocol = PROTOCOLS.get(request.path)
        if protocol is None or EARLY_MODEL not in start:
            return None
        call = self._admit(request)
        call.protocol = protocol.name
        call.model = EARLY_MODEL.decode().strip('"')
        call.fault = "early-response"
        request_id = Stamp(base_of(self._seed, call.number), 0, "").id("req_")
        body = errors.body(protocol.name, 413, request_id)
        return call, replace(whole(413, body), keep_alive=False)

    # How an answer comes about.

    def _admit(self, request: ReceivedRequest) -> LoggedCall:
        self._count += 1
        self._running += 1
        call = LoggedCall(self._count, request.method, request.path, request.headers)
        self.calls.append(call)
        self._wake()
        return call

    def _generate(
        self,
        call: LoggedCall,
        protocol: Protocol,
        request: ReceivedRequest,
        stamp: Stamp,
        headers: Headers,
    ) -> SandboxReply:
        body = _parse(request.body)
        if body is not None:
            call.body = body
            call.model = body["model"] if isinstance(body.get("model"), str) else None
            call.stream = body.get("stream") is True and protocol.events is not None
        if call.model in self._scripts:
            return self._next_scripted(call.model)
        refusal = self._refuse(call, protocol, body, stamp)
        if refusal is not None or body is None:
            return replace(refusal or whole(400, b""), headers=headers)
        model = str(call.model)
        fault = faults.of_model(model)
        call.fault = fault.name if fault else None
        try:
            return _reply(call, protocol, body, replace(stamp, model=model), headers, fault)
        except (TypeError, ValueError, LookupError, AttributeError) as mistake:
            # Nobody checked the types of what was sent: a tool's schema may be any JSON at all.
            message = f"Invalid request: {mistake}"
            refused = errors.body(protocol.name, 400, stamp.id("req_"), message)
            return whole(400, refused, headers)

    def _refuse(
        self, call: LoggedCall, protocol: Protocol, body: Json | None, stamp: Stamp
    ) -> SandboxReply | None:
        """Refuse as the vendor would: no key, invalid body, a missing field, or no such model."""
        name, request_id = protocol.name, stamp.id("req_")
        if not self._has_key(call):
            return whole(401, errors.body(name, 401, request_id))
        if body is None:
            return whole(400, errors.body(name, 400, request_id, errors.UNREADABLE))
        if missing := protocol.missing(body):
            return whole(400, errors.missing(name, missing, request_id))
        if call.model == models.BARE and protocol.events is None:
            return whole(404, _no_such_route(call, request_id))
        if not models.is_known(str(call.model)):
            return whole(404, errors.body(name, 404, request_id))
        return None

    def _plain(
        self, call: LoggedCall, request: ReceivedRequest, stamp: Stamp, headers: Headers
    ) -> SandboxReply:
        """Serve the routes that generate nothing."""
        protocol = "anthropic" if "anthropic-version" in request.headers else "openai"
        route = (request.method, request.path)
        if route == ("GET", "/healthz"):
            return whole(200, b'{"status":"ok","server":"tollgate-sandbox"}', headers)
        request_id = stamp.id("req_")
        if not self._has_key(call):
            return whole(401, errors.body(protocol, 401, request_id), headers)
        if route == ("GET", "/v1/models"):
            return whole(200, orjson.dumps(models.listing(protocol)), headers)
        if request.path in PROTOCOLS or request.path == "/v1/models":
            message = (
                f"Not allowed to {request.method} on {request.path} (HINT: try another method)."
            )
            return whole(405, errors.body("openai", 405, request_id, message), headers)
        return whole(404, _no_such_route(call, request_id), headers)

    def _next_scripted(self, model: str) -> SandboxReply:
        answers = self._scripts[model]
        return (answers.popleft() if len(answers) > 1 else answers[0]).reply()

    def _has_key(self, call: LoggedCall) -> bool:
        if self.require_key is None:
            return True
        bearer = call.headers.get("authorization", "").removeprefix("Bearer ")
        return self.require_key in (bearer, call.headers.get("x-api-key"))

    # Waiting.

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def _wake(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


def _parse(body: bytes) -> Json | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _no_such_route(call: LoggedCall, request_id: str) -> bytes:
    message = f"Invalid URL ({call.method} {call.path})"
    return errors.body("openai", 404, request_id, message, code=None)


def _headers(protocol: str | None, stamp: Stamp) -> Headers:
    if protocol == "anthropic":
        return (("request-id", stamp.id("req_")), ("anthropic-organization-id", "sandbox"))
    return (
        ("x-request-id", stamp.id("req_")),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "1"),
    )


def _reply(
    call: LoggedCall,
    protocol: Protocol,
    body: Json,
    stamp: Stamp,
    headers: Headers,
    fault: faults.Fault | None,
) -> SandboxReply:
    """Plan the answer, render it, and let the fault change either."""
    planned = plan.make(protocol.read(body))
    if fault is not None and fault.replan is not None:
        planned = fault.replan(planned)
    if protocol.events is not None:
        call.generated = (planned.usage.input, planned.usage.output)
    reply = _render(call, protocol, body, planned, stamp, headers)
    if fault is not None and fault.resend is not None:
        scene = Scene(protocol.name, call.stream, stamp.id("req_"), planned.after)
        reply = fault.resend(reply, scene)
    return reply


def _render(
    call: LoggedCall,
    protocol: Protocol,
    body: Json,
    planned: plan.AnswerPlan,
    stamp: Stamp,
    headers: Headers,
) -> SandboxReply:
    if call.stream and protocol.events is not None:
        frames = protocol.events(body, planned, stamp, call.sent)
        reply = SandboxReply(200, EVENT_STREAM, frames, headers)
    else:
        answered = protocol.answer(body, planned, stamp)
        reply = whole(200, orjson.dumps(answered), headers)
        said = planned.text if protocol.events is not None else ""
        text_bytes = len(said.encode()) * planned.choices
        frames = _count_when_sent(reply.body, text_bytes, answered.get("usage"), call.sent)
        reply = replace(reply, frames=frames)
    return replace(reply, wait_ms=planned.wait_ms, pace_ms=planned.pace_ms)


def _count_when_sent(
    body: bytes, text_bytes: int, usage: Json | None, tally: StreamTally
) -> Frames:
    """Wrap a JSON body so that it enters the tally when it is sent; a fault in its place does not."""
    tally.text_bytes += text_bytes
    tally.usage = usage
    yield body
