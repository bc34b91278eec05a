"""The call log of a gateway beside the test, read back line by line."""

from __future__ import annotations

import json
from typing import IO, Any

from gateway_project.lib.log import CallLog, RequestLog
from tests.support.live import LiveGateway


class Outcomes:
    """The lines of the call log that were written since the case began."""

    def __init__(self, gateway: LiveGateway, file: IO[bytes]) -> None:
        self._gateway = gateway
        self._file = file
        self._log = CallLog(file.fileno(), as_json=True)
        self._listen()

    def _listen(self) -> None:
        self._gateway.change(call_log=self._log, request_log=RequestLog(self._log))

    def __call__(self) -> list[dict[str, Any]]:
        self._gateway.idle()
        self._file.seek(0)
        return [json.loads(line) for line in self._file.read().splitlines()]

    def between_cases(self) -> None:
        self._gateway.idle()
        self._file.seek(0)
        self._file.truncate()
        self._listen()
