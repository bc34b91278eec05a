"""The command line of the sandbox, and the function other commands call to serve it."""

import argparse
import asyncio
import signal
import socket
from collections.abc import Sequence

from gateway_project.sandbox.faults import FAULTS
from gateway_project.sandbox.server import SandboxServer

DEFAULT_PORT = 8900


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.list_faults:
        print(fault_list())  # noqa: T201 - this is a command
        return
    serve_forever(
        options.host,
        options.port,
        log_path=options.log,
        log_bodies=options.log_bodies,
        require_key=options.require_key,
    )


def serve_forever(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    log_path: str | None = None,
    log_bodies: bool = False,
    require_key: str | None = None,
    announce: bool = True,
    listener: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `announce`: print one line with the base URL when ready. `listener`:
    a bound socket, in place of host and port.
    """
    server = SandboxServer(
        host,
        port,
        log_path=log_path,
        log_bodies=log_bodies,
        require_key=require_key,
        remembered_calls=0,
        listener=listener,
    )
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(server, announce=announce))


def fault_list() -> str:
    """List the faults, one a line: the model name that orders it, or that it has a URL, and what it does."""
    width = max(len(fault.model) for fault in FAULTS.values())
    lines = []
    for fault in FAULTS.values():
        name = f"({fault.name}: by URL)" if fault.has_own_port else fault.model
        lines.append(f"{name:<{width}}  {fault.description}")
    return "\n".join(lines)


async def _serve(server: SandboxServer, *, announce: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with server:
        if announce:
            print(server.base_url, flush=True)  # noqa: T201 - this is a command
        await stopping.wait()


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop factory where it is installed; None means asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - it does not exist on every platform
    except ImportError:
        return None
    return uvloop.Loop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway_project.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 picks a free one")
    parser.add_argument("--log", metavar="FILE", help="append one JSON line a call")
    parser.add_argument("--log-bodies", action="store_true", help="with the request bodies")
    parser.add_argument("--require-key", metavar="KEY", help="answer 401 to any other key")
    parser.add_argument("--list-faults", action="store_true", help="print the faults and exit")
    return parser
