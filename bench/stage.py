"""Set the stage: sandbox, floor and gateway, each a process of its own, on a throw-away data directory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench import processes, rows
from bench.rows import Keys
from gateway_project.serving.resources import raise_file_limit

CALL_LINE = b'"event":"call"'
MAX_COMPLAINTS = 5


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers calls. `pid` is the process to be measured; `pids` are all that serve."""

    name: str
    port: int
    pid: int
    key: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers that are compared, and the file the gateway logs to."""

    direct: Server
    floor: Server
    gateway: Server
    metered_key: str
    log: Path

    @property
    def servers(self) -> tuple[Server, Server, Server]:
        return self.direct, self.floor, self.gateway

    @property
    def pids(self) -> tuple[int, ...]:
        """Return every process of the stage."""
        return tuple(pid for server in self.servers for pid in (server.pids or (server.pid,)))

    def logged_calls(self) -> int:
        """Return the lines the gateway has written for calls that ended."""
        with self.log.open("rb") as lines:
            return sum(CALL_LINE in line for line in lines)

    def complaints(self) -> str:
        """Return the last lines the gateway logged besides calls: why calls failed, if they did."""
        lines = self.log.read_bytes().splitlines(keepends=True)
        others = [line for line in lines if CALL_LINE not in line]
        return b"".join(others[-MAX_COMPLAINTS:]).decode(errors="replace")


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Start everything and wait until it is ready; stop and remove it afterwards."""
    raise_file_limit()
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder,
        contextlib.ExitStack() as on,
    ):
        data_dir = Path(folder)
        direct = on.enter_context(_sandbox(data_dir))
        floor = on.enter_context(_floor(data_dir, direct))
        log = data_dir / "gateway.log"
        gateway, keys = on.enter_context(_gateway(data_dir, direct, log))
        yield Stage(direct, floor, gateway, keys.metered, log)


@contextlib.contextmanager
def counting_in_redis(beside: Stage, redis_url: str) -> Iterator[Server]:
    """Run another gateway before the same sandbox, with Redis; its key is metered."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        data_dir = Path(folder)
        started = _gateway(data_dir, beside.direct, data_dir / "gateway.log", REDIS_URL=redis_url)
        with started as (gateway, keys):
            yield replace(gateway, name="with redis", key=keys.metered)


@contextlib.contextmanager
def guarded(beside: Stage) -> Iterator[tuple[Server, Server]]:
    """Run another gateway before the same sandbox; the first key is of a tenant with guardrails, the
    second of one without."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        data_dir = Path(folder)
        log = data_dir / "gateway.log"
        with _gateway(data_dir, beside.direct, log, prepare=rows.guard) as (gateway, keys):
            yield (
                replace(gateway, name="guarded"),
                replace(gateway, name="beside guarded", key=keys.metered),
            )


@contextlib.contextmanager
def _sandbox(data_dir: Path) -> Iterator[Server]:
    port, log = processes.free_port(), data_dir / "sandbox.log"
    arguments = ["-m", "gateway_project.sandbox", "--port", str(port)]
    with processes.running(arguments, processes.environment(data_dir), log) as pid:
        processes.wait_until_ready(port, "/healthz", log)
        yield Server("direct", port, pid, key="none")


@contextlib.contextmanager
def _floor(data_dir: Path, sandbox: Server) -> Iterator[Server]:
    port, log = processes.free_port(), data_dir / "floor.log"
    arguments = ["-m", "bench.floor", str(port), f"http://127.0.0.1:{sandbox.port}"]
    with processes.running(arguments, processes.environment(data_dir), log) as pid:
        processes.wait_until_ready(port, "/healthz", log)
        yield Server("floor", port, pid, key="none")


@contextlib.contextmanager
def _gateway(
    data_dir: Path,
    sandbox: Server,
    log: Path,
    prepare: Callable[[dict[str, str]], None] = lambda variables: None,
    **settings: str,
) -> Iterator[tuple[Server, Keys]]:
    """Run a gateway as in production: the supervisor and one worker, keys checked, a log line in JSON per
    call. `prepare` may make more rows.
    """
    variables = processes.environment(data_dir, TOLLGATE_LOG_FORMAT="json", **settings)
    port = processes.free_port()
    keys = rows.make(variables, sandbox.port)
    prepare(variables)
    arguments = ["manage.py", "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with processes.running(arguments, variables, log) as supervisor:
        processes.wait_until_ready(port, "/readyz", log)
        worker, all_of_it = processes.only_worker(supervisor), processes.serving(supervisor)
        yield Server("gateway", port, worker, keys.plain, all_of_it), keys
