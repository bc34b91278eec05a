"""Providers whose weather changes: sandboxes that play a fault to everybody while it lasts."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from gateway_project.sandbox.faults import PREFIX
from gateway_project.sandbox.http import ReceivedRequest
from gateway_project.sandbox.server import SandboxServer

SOUND_MODEL = b'"sandbox-1"'
# What a client writes whose requests no provider takes.
STORM = b"[storm]"
STORM_FAULT = "400"


class Provider(SandboxServer):
    """A sandbox. `weather` is the fault that it plays; `asked_at` tells when it was asked."""

    def __init__(self, name: str) -> None:
        super().__init__(remembered_calls=1)
        self.name = name
        self.weather = ""
        self.slowness = b""
        self.asked_at: list[float] = []

    def answer(self, request: ReceivedRequest) -> Any:
        if request.method == "POST":
            self.asked_at.append(time.monotonic())
            fault = STORM_FAULT if STORM in request.body else self.weather
            body = request.body
            if fault:
                body = body.replace(SOUND_MODEL, f'"{PREFIX}{fault}"'.encode(), 1)
            if self.slowness:
                body = body.replace(b"[pace=2]", self.slowness, 1)
            request = replace(request, body=body)
        return super().answer(request)

    def asked(self, since: float, until: float) -> int:
        """Count the calls between two moments."""
        return sum(since <= at < until for at in self.asked_at)
