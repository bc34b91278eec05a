"""Prepare a response whose events are kept, to be replayed."""

from __future__ import annotations

import httpx
import orjson

from bench.calls import PATHS, Cell, background_body
from bench.stage import Server

DATA = "data: "


async def made(gateway: Server, cell: Cell, chunks: int) -> str:
    """Return the id of a response made in the background, once it has ended."""
    url = f"http://127.0.0.1:{gateway.port}{PATHS['responses']}"
    headers = {"authorization": f"Bearer {gateway.key}"}
    async with (
        httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as client,
        client.stream("POST", url, json=background_body(cell, chunks)) as answer,
    ):
        answer.raise_for_status()
        lines = [line async for line in answer.aiter_lines() if line.startswith(DATA)]
    created, *_, last, _done = lines
    assert orjson.loads(last[len(DATA) :])["type"] == "response.completed"
    response_id: str = orjson.loads(created[len(DATA) :])["response"]["id"]
    return response_id
