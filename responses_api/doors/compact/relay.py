"""Pass through the answer of an upstream that compacts by itself, under an id of ours."""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.errors import UpstreamMalformed
from responses_api.doors.responses.relay import ResponsesRelay
from responses_api.stream.upstream_reader import dump_json
from routing.protocols.shared import failures


class CompactRelay(ResponsesRelay):
    """Implements `UpstreamReader` for POST /responses/compact, which never streams."""

    __slots__ = ()

    def body(self, raw: bytes) -> bytes:
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("output"), list):
            if isinstance(answer, dict) and answer.get("error"):
                raise failures.of_event(self._target, answer["error"])
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no compaction.")
        self.meter.observe(answer.get("usage"))
        if not self.meter.has_output:
            self.tally.add_text(_summary_bytes(answer["output"]))
        self.has_output = self.ended = True
        self._snapshot = {**answer, "id": self._identity.id}
        self.closing = dump_json(self._snapshot, self._target)
        return self.closing


def _summary_bytes(output: list[Any]) -> int:
    """Estimate the size of the summary in a compaction, which is sealed as base64. What stands beside it was
    in the request."""
    sealed = [item.get("encrypted_content") for item in output if isinstance(item, dict)]
    return sum(len(text) * 3 // 4 for text in sealed if isinstance(text, str))
