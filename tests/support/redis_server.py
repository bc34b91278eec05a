"""A Redis of one's own, with a password, which may be stopped and started again."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from pathlib import Path

import redis

from bench.processes import free_port

PROGRAM = shutil.which("redis-server")
SECONDS_TO_ANSWER = 10


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
        assert PROGRAM is not None, "redis-server is not installed"
        settings = self._home / "redis.conf"
        settings.write_text(
            f'bind 127.0.0.1\nport {self._port}\nrequirepass {self._password}\nsave ""\n'
        )
        self._process = subprocess.Popen(
            [PROGRAM, str(settings)], cwd=self._home, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server was started but does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
