"""A Redis of one's own, with a password, which may be stopped and started again."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from bench.processes import free_port
from tests.support.patience import GIVE_UP_SECONDS

PROGRAM = shutil.which("redis-server")


class RedisServer:
    def __init__(self, home: Path) -> None:
        self._home = home
        self._password = secrets.token_hex(16)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Return when it answers."""
        self._launch()
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server was started but does not answer"
            if self._process is not None and self._process.poll() is not None:
                self._port = free_port()  # somebody was quicker to take the one before
                self._launch()
            time.sleep(0.02)

    def _launch(self) -> None:
        assert PROGRAM is not None, "redis-server is not installed"
        settings = self._home / "redis.conf"
        settings.write_text(
            f'bind 127.0.0.1\nport {self._port}\nrequirepass {self._password}\nsave ""\n'
        )
        self._process = subprocess.Popen(
            [PROGRAM, str(settings)], cwd=self._home, stdout=subprocess.DEVNULL
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(GIVE_UP_SECONDS)
            self._process = None

    @contextmanager
    def overheard(self) -> Iterator[list[str]]:
        """Every command that reaches it within the block, with its values, as MONITOR tells them."""
        heard: list[str] = []
        with socket.create_connection(("127.0.0.1", self._port), GIVE_UP_SECONDS) as monitor:
            monitor.sendall(f"AUTH {self._password}\r\nMONITOR\r\n".encode())
            listener = threading.Thread(target=_listen, args=(monitor, heard))
            listener.start()
            try:
                yield heard
            finally:
                with redis.Redis.from_url(self.url) as last:
                    last.echo(_END)
                listener.join(GIVE_UP_SECONDS)

    def dump(self) -> bytes:
        """All that it holds: every key with its value, whatever its type."""
        with redis.Redis.from_url(self.url) as client:
            return b"\n".join(
                each for key in client.scan_iter(count=1000) for each in (key, _value(client, key))
            )

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


_END = "nobody listens any more"


def _listen(monitor: socket.socket, heard: list[str]) -> None:
    monitor.settimeout(None)
    with monitor.makefile("r", encoding="latin-1") as lines:
        for line in lines:
            heard.append(line)
            if _END in line:
                return


def _value(client: Any, key: bytes) -> bytes:
    readers = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1, withscores=True),
        b"stream": lambda: client.xrange(key),
        b"none": lambda: b"",  # it ended meanwhile
    }
    return repr(readers[client.type(key)]()).encode()
