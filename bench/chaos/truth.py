"""Read the sandbox's record of the calls it received."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from bench.chaos.accounts import Sent, Tokens
from gateway_project.lib.json import Json
from gateway_project.lib.tokens import BYTES_PER_TOKEN

MARKER = re.compile(rb"chaos-\d{7}")


def calls(log: Path) -> Iterator[Sent]:
    """Return calls that bear a marker: everything but health checks."""
    with log.open("rb") as lines:
        for line in lines:
            if found := MARKER.search(line):
                yield _sent(orjson.loads(line), found.group().decode())


def _sent(line: Json, marker: str) -> Sent:
    report = line["usage"]
    return Sent(
        number=line["number"],
        marker=marker,
        protocol=line["protocol"],
        is_whole=line["ended"] == "completed" and line["status"] == 200,
        tokens=tokens(line["protocol"], report) if report else None,
        text_tokens=line["text_bytes_sent"] // BYTES_PER_TOKEN,
        streamed=line["stream"],
    )


def tokens(protocol: str, report: Json) -> Tokens:
    """Map its counts to token classes: it reports no cache, and Anthropic does not count reasoning apart."""
    if protocol == "anthropic":
        return report["input_tokens"], report["output_tokens"], 0
    entered, left = ("prompt", "completion") if protocol == "chat" else ("input", "output")
    thought: int = report[f"{left}_tokens_details"]["reasoning_tokens"]
    return report[f"{entered}_tokens"], report[f"{left}_tokens"] - thought, thought
