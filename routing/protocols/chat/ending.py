"""Decide whether a chat stream ended or was only cut off: one rule for the relay and the translation.

1. A whole JSON body is a whole answer, whatever its `finish_reason` says; nothing here is asked about it.
2. `[DONE]` ends a stream if every choice that began has a reason. An empty reason counts here, where it comes
   with the last chunk of its choice and with none before: Snowflake ends its choices that way.
3. `[DONE]` also ends a stream whose last chunk is the first that carries usage.
4. The end of the connection without `[DONE]` ends a stream if every choice that began has a reason that is
   not empty.

Usage or an empty reason in every chunk proves nothing: servers written in Go send both from the start
(https://github.com/ollama/ollama/issues/4357), and proxies send `[DONE]` after a stream that broke off. The
same goes for a stream of a single chunk, in which the first chunk is also the last.
"""

from __future__ import annotations

from typing import Any, Final

from gateway_project.lib.errors import UpstreamError
from gateway_project.lib.json import Json
from routing.protocols.shared import failures
from routing.protocols.shared.fields import text
from routing.route import ResolvedTarget

# What is known of the reason of a choice: none yet; an empty one with its last chunk, and none before; an
# empty one that proves nothing; one with words in it.
_NONE: Final = 0
_EMPTY: Final = 1
_VAGUE: Final = 2
_NAMED: Final = 3
_ENDED = frozenset({_EMPTY, _NAMED})

# Not an end but a failure told in the place of one: OpenRouter and Mistral say `error`, DeepSeek
# `insufficient_system_resource`, Zhipu `network_error`, vLLM and SGLang `abort`.
_FAILED = {"error": 500, "network_error": 500, "abort": 500, "insufficient_system_resource": 503}
# The provider's own filter: `sensitive` is Zhipu's.
FILTERED = frozenset({"content_filter", "refusal", "safety", "recitation", "sensitive"})


class Ending:
    """Take every chunk of a stream: `usage`, and then `choice` for each of its choices.

    `saw_usage`: some chunk carried usage. Until then `usage` need not be told of chunks without it.
    """

    __slots__ = ("_choices", "_first_usage_is_last", "saw_usage")

    def __init__(self) -> None:
        self._choices: dict[int, int] = {}
        self._first_usage_is_last = False
        self.saw_usage = False

    def usage(self, *, is_there: bool) -> None:
        """Note whether a chunk carries usage."""
        self._first_usage_is_last = is_there and not self.saw_usage and bool(self._choices)
        self.saw_usage = self.saw_usage or is_there

    def choice(self, choice: Json) -> bool:
        """Note a choice of a chunk; True if it names the reason for its end."""
        index = choice.get("index")
        if not isinstance(index, int):
            index = 0
        known = self._choices.get(index)
        reason = choice.get("finish_reason")
        if reason is None and known == _NONE:
            return False
        self._choices[index] = found = _after(known, reason)
        return found == _NAMED

    def is_whole(self, *, done: bool) -> bool:
        """Tell whether a stream that ends now is whole; `done` if `[DONE]` ended it."""
        known = self._choices.values()
        if not known:
            return False
        if done:
            return self._first_usage_is_last or all(state in _ENDED for state in known)
        return all(state == _NAMED for state in known)

    @property
    def unfinished(self) -> list[int]:
        """List the indexes of the choices that named no reason."""
        return sorted(index for index, state in self._choices.items() if state != _NAMED)


def _after(known: int | None, reason: Any) -> int:
    if reason or known == _NAMED:
        return _NAMED
    if reason is None:
        return _VAGUE if known else _NONE
    return _EMPTY if known == _NONE else _VAGUE


def is_filtered(choice: Json) -> bool:
    """Tell whether a choice says that the provider's own filter ended it."""
    return text(choice.get("finish_reason")).lower() in FILTERED


def failure(choice: Json, target: ResolvedTarget) -> UpstreamError | None:
    """Find the failure that a choice tells instead of a reason; None for every true reason."""
    status = _FAILED.get(text(choice.get("finish_reason")).lower())
    if status is None:
        return None
    if error := choice.get("error"):
        return failures.of_event(target, error)
    return failures.of_error(target, status, {}, None)
