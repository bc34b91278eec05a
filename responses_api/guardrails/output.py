"""Filter the answer of a call, deltas in and deltas out: what its model wrote is searched, then shown to
external checks, then masks of the request are put back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial

from msgspec import Struct, structs

from gateway_project.lib.errors import GuardrailUnavailable
from responses_api.guardrails import json_text
from responses_api.guardrails.findings import OUTCOMES, findings_of
from responses_api.guardrails.held_calls import MAX_HELD_BYTES, HeldCalls
from responses_api.guardrails.hits import Hit
from responses_api.guardrails.items import walk_item
from responses_api.guardrails.judged import JudgedStage
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.reading import Visitor
from responses_api.guardrails.request_checks import denied_tool
from responses_api.guardrails.scanner import Scanner
from responses_api.guardrails.spec import (
    DefinedTool,
    GuardrailFinding,
    GuardrailSpec,
    OutputJudge,
    Reporter,
)
from responses_api.guardrails.text_blocks import TextBlocks, Words
from responses_api.guardrails.unmasking import UnmaskingWindow
from responses_api.guardrails.window import HoldBackWindow
from responses_api.stream.written import text_bytes
from routing.protocols.shared.deltas import (
    Delta,
    Opaque,
    Reasoning,
    Refusal,
    Stop,
    Text,
    ToolCall,
)
from routing.protocols.shared.tools import Toolbox

_WORDS = (Text, Refusal, Reasoning)
_WITH_CONTENT = (*_WORDS, ToolCall, Opaque)


class OutputGuard(Struct, frozen=True):
    """Everything that may change the answer of a call. Each attempt begins a filter of its own with it."""

    scanner: Scanner
    specs: tuple[GuardrailSpec, ...]  # all that look at answers
    masks: Masks
    report: Reporter
    judge: OutputJudge | None = None

    def begin(self, toolbox: Toolbox, *, for_us: bool = False) -> OutputFilter:
        """Begin the filter of an answer, whose tools are known. `for_us`: no client gets it, so that external
        checks and masks wait until it is part of a request."""
        guard = structs.replace(self, judge=None, masks=Masks()) if for_us else self
        return OutputFilter(guard, toolbox)


class OutputFilter:
    """An `OutputGate`: the stages an answer goes through, one after the other."""

    __slots__ = ("_found", "_judged", "_local", "_report", "_unmask", "has_content", "is_blocked")

    def __init__(self, guard: OutputGuard, toolbox: Toolbox) -> None:
        self._report = guard.report
        self._found: list[GuardrailFinding] = []
        self._local = LocalStage(structs.replace(guard, report=self._found.append), toolbox)
        self._judged = JudgedStage(guard.judge) if guard.judge is not None else None
        self._unmask = UnmaskStage(guard.masks, toolbox) if guard.masks else None
        self.has_content = False
        self.is_blocked = False

    @property
    def is_waiting(self) -> bool:
        return self._judged is not None and self._judged.is_waiting and not self.is_blocked

    def take(self, deltas: list[Delta]) -> list[Delta]:
        if self.is_blocked:
            return []
        if not self.has_content:
            self.has_content = any(map(_is_content, deltas))
        passed = self._local.take(deltas)
        if self._local.is_blocked:
            self.is_blocked = True
            return []
        if self._judged is not None:
            self._judged.take(passed)
            return []
        return passed if self._unmask is None else self._unmask.take(passed)

    def tell(self) -> None:
        if self._found:
            for finding in self._found:
                self._report(finding)
            self._found.clear()

    async def verdict(self) -> list[Delta]:
        """Ask for the verdict and return what may go on. Raise GuardrailUnavailable where nobody could give
        one and nothing may pass without: that is a failure, and no block."""
        assert self._judged is not None
        verdict, passed = await self._judged.verdict()
        for finding in verdict.findings:
            self._report(finding)
        for finding in verdict.findings:
            if finding.outcome == "unavailable":
                raise GuardrailUnavailable(finding.guardrail.name)
        if verdict.blocks:
            self.is_blocked = True
            return []
        return passed if self._unmask is None else self._unmask.take(passed)


def _is_content(delta: Delta) -> bool:
    """Tell whether a delta is the beginning of an answer, which blank text is not."""
    if isinstance(delta, _WORDS):
        return bool(delta.text) and not delta.text.isspace()
    return isinstance(delta, ToolCall | Opaque)


class LocalStage:
    """Search what the model wrote, and mask it or end the answer."""

    __slots__ = (
        "_answers", "_calls", "_drops_sealed", "_guard", "_texts", "_thoughts", "_toolbox", "is_blocked",
    )  # fmt: skip

    def __init__(self, guard: OutputGuard, toolbox: Toolbox) -> None:
        self._guard = guard
        self._toolbox = toolbox
        self._drops_sealed = any(
            spec.config.get("opaque") == "refuse" and spec.action != "monitor"
            for spec in guard.specs
        )
        self._texts = TextBlocks(
            partial(HoldBackWindow, guard.scanner, _is_masked),
            self._found,
            is_passive=not guard.scanner.changes,
        )
        self._calls = HeldCalls()
        self._answers: set[Hashable] = set()  # keys of calls whose arguments are the answer itself
        self._thoughts: set[tuple[int, str]] = set()  # what was found in thoughts as they are shown
        self.is_blocked = False

    def take(self, deltas: list[Delta]) -> list[Delta]:
        passed: list[Delta] = []
        for delta in deltas:
            if delta.__class__ is Text and not (delta.annotations or self._calls):  # as most are
                passed += self._texts.take(delta)
            else:
                passed += self._take(delta)
            if self.is_blocked:
                return []
        return passed

    def _take(self, delta: Delta) -> Iterator[Delta]:
        if isinstance(delta, _WORDS):
            yield from self._release_calls()
            yield from self._take_words(delta)
        elif isinstance(delta, ToolCall):
            yield from self._take_call(delta)
        else:
            yield from self._texts.close()
            yield from self._release_calls(is_end=isinstance(delta, Stop))
            yield self._scrubbed(delta) if isinstance(delta, Opaque) else delta

    def _take_words(self, delta: Words) -> list[Delta]:
        if isinstance(delta, Reasoning) and delta.sealed is not None:
            return self._take_sealed(delta, delta.sealed)
        if isinstance(delta, Text) and delta.annotations:
            visitor = self._visitor("annotation")
            marks = tuple(visitor.strings("", "", "", mark) for mark in delta.annotations)
            delta = structs.replace(delta, annotations=marks)
        return self._texts.take(delta)

    def _take_sealed(self, delta: Reasoning, sealed: str) -> list[Delta]:
        """Take a thought with what its maker wants back as it is: that goes if anything in it is replaced."""
        if self._drops_sealed:
            return self._texts.take(structs.replace(delta, sealed=None))
        passed = self._texts.take(delta)
        if not (self._guard.scanner.changes and self._changes_sealed(sealed)):
            return passed
        return [one for one in passed if not (isinstance(one, Reasoning) and one.sealed)]

    def _changes_sealed(self, sealed: str) -> bool:
        """Search what is sealed, and report what was not found in the thought as it is shown."""

        def search(text: str) -> str:
            out, hits = HoldBackWindow(self._guard.scanner, _is_masked).feed(text, is_last=True)
            hidden = [hit for hit in hits if (id(hit.guardrail), hit.rule) not in self._thoughts]
            self._found(hidden, "reasoning")
            return out

        return _Searching(search).changes_sealed("", sealed)

    # Calls

    def _take_call(self, delta: ToolCall) -> Iterator[Delta]:
        if delta.key in self._answers or self._toolbox.is_answer(delta.name):
            self._answers.add(delta.key)
            yield from self._texts.take_answer(delta)
            return
        yield from self._texts.close()
        if delta.key not in self._calls:
            yield from self._release_calls()
        if not self._calls.add(delta):
            yield delta
        if self._calls.size > MAX_HELD_BYTES:
            yield from self._too_large()

    def _release_calls(self, *, is_end: bool = False) -> Iterator[Delta]:
        if not self._calls:
            return
        for call in self._calls.release(is_end=is_end):
            self._check_call(call)
            arguments = self._search_json("tool_call", call.arguments)
            yield structs.replace(call, name=self._name(call), arguments=arguments)

    def _name(self, call: ToolCall) -> str:
        """Return the name that a call is given. One of the request's own tools tells its client nothing."""
        is_known = self._toolbox.find(call.name) is not None
        return call.name if is_known else self._search("tool_call", call.name)

    def _check_call(self, call: ToolCall) -> None:
        item = self._toolbox.item(call.name) if call.name else {"type": "function_call", "name": ""}
        tool = DefinedTool("function", item["name"], "", "")
        size = text_bytes(call.arguments)
        for spec in self._guard.specs:
            if spec.kind != "tools":
                continue
            if rule := denied_tool(spec, tool):
                self._decide(spec, rule, 1)
            most = spec.config.get("max_arguments_bytes")
            if most is not None and size > most:
                self._decide(spec, "max_arguments_bytes", size)

    def _too_large(self) -> list[ToolCall]:
        """End an answer with calls that are too large to be held, since they cannot be searched; where
        nothing may be changed anyhow, let them go."""
        for spec in self._guard.specs:
            if spec.action != "monitor":
                self._decide(spec, "held_too_large", self._calls.size)
                return []
        return self._calls.give_up()

    def _decide(self, spec: GuardrailSpec, rule: str, count: int) -> None:
        """Report what is wrong with a call as a whole: it is blocked, or only noticed."""
        is_noticed = spec.action == "monitor"
        outcome = OUTCOMES["monitor" if is_noticed else "block"]
        self._guard.report(GuardrailFinding(spec, rule, "output", "tool_call", outcome, count))
        self.is_blocked = self.is_blocked or not is_noticed

    # Texts as a whole

    def _scrubbed(self, delta: Opaque) -> Opaque:
        """Search all texts of an item that is no message, thought or call of the client's tools."""
        item = delta.item
        kind = item.get("type")
        if kind == "mcp_call":
            tool = DefinedTool("mcp", str(item.get("name")), str(item.get("server_label")), "")
            for spec in self._guard.specs:
                if spec.kind == "tools" and (rule := denied_tool(spec, tool)):
                    self._decide(spec, rule, 1)
        scrubbed = walk_item(item, self._visitor("item"), "")
        return delta if scrubbed is item else structs.replace(delta, item=scrubbed)

    def _visitor(self, surface: str) -> Visitor:
        return _Searching(partial(self._search, surface))

    def _search_json(self, surface: str, raw: str) -> str:
        if not json_text.is_container(raw):
            return self._search(surface, raw)
        return json_text.rewrite(raw, partial(self._search, surface))

    def _search(self, surface: str, text: str) -> str:
        scanner = self._guard.scanner
        if not text or not scanner.may_find(text):
            return text
        out, hits = HoldBackWindow(scanner, _is_masked).feed(text, is_last=True)
        self._found(hits, surface)
        return out

    def _found(self, hits: list[Hit], surface: str) -> None:
        if surface == "reasoning":
            self._thoughts.update((id(hit.guardrail), hit.rule) for hit in hits)
        for finding in findings_of(hits, "output", surface):
            self._guard.report(finding)
            self.is_blocked = self.is_blocked or finding.outcome == "blocked"


class _Searching(Visitor):
    """Lead the texts of an item through a search."""

    def __init__(self, search: Callable[[str], str]) -> None:
        super().__init__()
        self._search = search

    def text(self, surface: str, role: str, param: str, text: object) -> object:
        return self._search(text) if isinstance(text, str) else text


def _is_masked(hit: Hit) -> bool:
    return hit.guardrail.action == "mask"


class UnmaskStage:
    """Put masks of the request back: in texts, and in calls of the client's own tools. What a provider's
    tools were given, or an MCP server, stays as it was."""

    __slots__ = ("_answers", "_masks", "_texts", "_toolbox")

    def __init__(self, masks: Masks, toolbox: Toolbox) -> None:
        self._masks = masks
        self._toolbox = toolbox
        self._answers: set[Hashable] = set()
        self._texts = TextBlocks(partial(UnmaskingWindow, masks), _nothing_found)

    def take(self, deltas: list[Delta]) -> list[Delta]:
        return [one for delta in deltas for one in self._take(delta)]

    def _take(self, delta: Delta) -> Iterator[Delta]:
        if isinstance(delta, _WORDS):
            yield from self._texts.take(delta)
            return
        if isinstance(delta, ToolCall):
            if delta.key in self._answers or self._toolbox.is_answer(delta.name):
                self._answers.add(delta.key)
                yield from self._texts.take_answer(delta)
                return
            delta = structs.replace(delta, arguments=self._unmask(delta.arguments))
        yield from self._texts.close()
        yield delta

    def _unmask(self, arguments: str) -> str:
        if json_text.is_container(arguments):
            return json_text.rewrite(arguments, self._masks.unmask)
        return self._masks.unmask(arguments)


def _nothing_found(hits: list[Hit], surface: str) -> None:
    return None
