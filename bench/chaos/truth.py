"""What the sandbox wrote down of the calls it received."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from bench.chaos.accounts import Sent, Tokens

MARKER = re.compile(rb"chaos-\d{7}")
_TEXT_BYTES_PER_TOKEN = 4

Json = dict[str, Any]


def calls(log: Path) -> Iterator[Sent]:
    """Calls that bear a marker: everything but questions about health."""
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
        text_tokens=line["text_bytes_sent"] // _TEXT_BYTES_PER_TOKEN,
        streamed=line["stream"],
    )


def tokens(protocol: str, report: Json) -> Tokens:
    """The sandbox reports no cache; Anthropic does not say which of its output was thought."""
    if protocol == "anthropic":
        return report["input_tokens"], report["output_tokens"], 0
    entered, left = ("prompt", "completion") if protocol == "chat" else ("input", "output")
    thought: int = report[f"{left}_tokens_details"]["reasoning_tokens"]
    return report[f"{entered}_tokens"], report[f"{left}_tokens"] - thought, thought
