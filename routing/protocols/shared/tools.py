"""Give a request's tools names that every upstream accepts, and lead back to the client's own.

Upstreams that do not speak Responses know functions only. A `custom` tool is offered as a function of one
string, a `namespace` is flattened into its tools' names, tools that appear in the input are offered from the
start, and hosted tools are left out (docs/wire.md 3.6, pitfalls 20 and 21).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from gateway_project.lib.json import Json
from routing.protocols.shared import answer_format
from routing.protocols.shared.custom_input import CustomInput
from routing.route import ResolvedTarget

__all__ = ["CustomInput", "Tool", "Toolbox"]

Kind = Literal["function", "custom"]
Choice = Literal["auto", "none", "required", "forced"]

MAX_NAME = 64
ANSWER_TOOL = "json_answer"
WRAPPED_INPUT: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
# Items of the input that bring tools with them (docs/wire.md 3.5).
TOOL_ITEMS = frozenset({"additional_tools", "tool_search_output"})
_VALID_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_INVALID = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the client runs. `wire_name` is what an upstream knows it by."""

    wire_name: str
    kind: Kind
    name: str
    namespace: str | None
    description: str | None
    parameters: Json | None
    strict: bool | None


class _Key(NamedTuple):
    """The identity of one of the client's tools."""

    kind: Kind
    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools that may be called in one exchange.

    `dropped` are the types of hosted tools left out; `forced` goes with the choice "forced"; `allowed` are
    wire names, or None if all may be called; `answer_tool` takes a structured answer in place of text, and is
    not among `tools`.
    """

    tools: tuple[Tool, ...] = ()
    dropped: tuple[str, ...] = ()
    choice: Choice = "auto"
    forced: Tool | None = None
    allowed: frozenset[str] | None = None
    parallel: bool | None = None
    answer_tool: Tool | None = None
    _by_wire_name: dict[str, Tool] = field(default_factory=dict, repr=False, compare=False)
    _by_key: dict[_Key, Tool] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls, canonical: Json, target: ResolvedTarget | None = None, *, keeps_names: bool = False
    ) -> Toolbox:
        """Read the tools of a canonical body. With a target, a structured answer that its model has no format
        for becomes a call of a tool. `keeps_names`: the upstream is sent the tools as the client wrote them.

        Raises BadRequest naming the field.
        """
        found, dropped = _definitions(canonical)
        by_key = _tools(found, _own_names(found) if keeps_names else _wire_names(found))
        choice, forced, allowed = _Chooser(by_key, dropped).read(canonical.get("tool_choice"))
        by_wire_name = {tool.wire_name: tool for tool in by_key.values()}
        parallel = canonical.get("parallel_tool_calls")
        return cls(
            tools=tuple(by_key.values()),
            dropped=tuple(dropped),
            choice=choice,
            forced=forced,
            allowed=allowed,
            parallel=parallel if isinstance(parallel, bool) else None,
            answer_tool=_answer_tool(canonical, target, choice, by_wire_name),
            _by_wire_name=by_wire_name,
            _by_key=by_key,
        )

    @property
    def offered(self) -> tuple[Tool, ...]:
        """List the tools that the upstream is told of."""
        if self.allowed is None:
            return self.tools
        return tuple(tool for tool in self.tools if tool.wire_name in self.allowed)

    def find(self, wire_name: str) -> Tool | None:
        return self._by_wire_name.get(wire_name)

    def permits(self, wire_name: str) -> bool:
        """Tell whether a call of this name may reach the client: `allowed_tools` is enforced by us."""
        return self.allowed is None or wire_name in self.allowed

    def is_answer(self, wire_name: str) -> bool:
        """Tell whether a call of this name is the answer itself."""
        return self.answer_tool is not None and wire_name == self.answer_tool.wire_name

    def item(self, wire_name: str) -> Json:
        """Begin the output item for a call: its type and the client's own name."""
        tool = self._by_wire_name.get(wire_name)
        if tool is None:
            return {"type": "function_call", "name": wire_name}
        kind = "custom_tool_call" if tool.kind == "custom" else "function_call"
        if tool.namespace is None:
            return {"type": kind, "name": tool.name}
        return {"type": kind, "name": tool.name, "namespace": tool.namespace}

    def wire_name_of(self, call: Json) -> str:
        """Return the name under which a call item of the history is replayed."""
        kind: Kind = "custom" if call.get("type") == "custom_tool_call" else "function"
        return self.wire_name(call.get("name") or "", call.get("namespace"), kind)

    def wire_name(self, name: str, namespace: str | None, kind: Kind) -> str:
        """Return the name under which a call of the history is replayed, even if its tool is gone."""
        tool = self._by_key.get(_Key(kind, namespace, name))
        if tool is None and namespace == name:
            # A tool found by searching is called with its own name as the namespace.
            tool = self._by_key.get(_Key(kind, None, name))
        return tool.wire_name if tool is not None else _candidate(_Key(kind, namespace, name))


# Reading the definitions


class _Found(NamedTuple):
    at: str
    definition: Json
    namespace: str | None


def _definitions(canonical: Json) -> tuple[dict[_Key, _Found], list[str]]:
    """Collect the client's tools, a later one replacing an earlier one of the same name, and what is left
    out."""
    found: dict[_Key, _Found] = {}
    dropped: dict[str, None] = {}
    for entry in _entries(canonical):
        kind = entry.definition.get("type")
        if kind in {"function", "custom"}:
            found[_Key(kind, entry.namespace, _name(entry))] = entry
        else:
            dropped[str(kind)] = None
    return found, list(dropped)


def _entries(canonical: Json) -> Iterator[_Found]:
    yield from _flatten(canonical.get("tools"), "tools", None)
    for i, item in enumerate(canonical["input"]):
        if item.get("type") in TOOL_ITEMS:
            yield from _flatten(item.get("tools"), f"input[{i}].tools", None)


def _flatten(tools: object, at: str, namespace: str | None) -> Iterator[_Found]:
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        here = f"{at}[{i}]"
        if not isinstance(tool, dict):
            raise BadRequest(f"'{here}' must be an object.", param=here)
        if tool.get("type") == "namespace" and namespace is None:
            name = _name(_Found(here, tool, None))
            yield from _flatten(tool.get("tools"), f"{here}.tools", name)
        else:
            yield _Found(here, tool, namespace)


def _name(entry: _Found) -> str:
    name = entry.definition.get("name")
    if isinstance(name, str) and name:
        return name
    raise BadRequest(f"'{entry.at}.name' must be a text.", param=f"{entry.at}.name")


# Naming them


def _tools(found: dict[_Key, _Found], names: dict[_Key, str]) -> dict[_Key, Tool]:
    return {key: _tool(key, names[key], entry) for key, entry in found.items()}


def _own_names(found: Iterable[_Key]) -> dict[_Key, str]:
    """Name tools as an upstream of the client's own protocol does, namespaces before them."""
    return {key: _join_name(key) for key in found}


def _wire_names(found: Collection[_Key]) -> dict[_Key, str]:
    """Give each tool a name that every upstream accepts; a valid name without a namespace stays as it is."""
    names: dict[_Key, str] = {}
    taken: set[str] = set()
    for key in found:
        if key.namespace is None and _VALID_NAME.match(key.name) and key.name not in taken:
            names[key] = key.name
            taken.add(key.name)
    for key in found:
        if key not in names:
            candidate = _candidate(key)
            names[key] = candidate if candidate not in taken else _shorten(candidate, key)
            taken.add(names[key])
    return names


def _join_name(key: _Key) -> str:
    return key.name if key.namespace is None else f"{key.namespace}__{key.name}"


def _candidate(key: _Key) -> str:
    cleaned = _INVALID.sub("_", _join_name(key))
    return cleaned if 0 < len(cleaned) <= MAX_NAME else _shorten(cleaned, key)


def _shorten(name: str, key: _Key) -> str:
    """Shorten a name, with a mark that is the same in every request: prompts stay cacheable."""
    mark = hashlib.sha256("\0".join(map(str, key)).encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME - 9]}_{mark}"


def _tool(key: _Key, wire_name: str, entry: _Found) -> Tool:
    definition = entry.definition
    described = definition.get("description")
    description = described if isinstance(described, str) else None
    if key.kind == "custom":
        description = _with_format(description, definition.get("format"))
        return Tool(wire_name, "custom", key.name, key.namespace, description, WRAPPED_INPUT, None)
    parameters, strict = definition.get("parameters"), definition.get("strict")
    if parameters is not None and not isinstance(parameters, dict):
        at = f"{entry.at}.parameters"
        raise BadRequest(f"'{at}' must be an object or null.", param=at)
    return Tool(
        wire_name=wire_name,
        kind="function",
        name=key.name,
        namespace=key.namespace,
        description=description,
        parameters=parameters,
        strict=strict if isinstance(strict, bool) else None,
    )


def _with_format(description: str | None, form: object) -> str:
    words = [description] if description else []
    words.append("Give the whole input of the tool as one plain text in `input`.")
    match form:
        case {"type": "grammar", "definition": str(definition)}:
            syntax = form.get("syntax") if isinstance(form, dict) else None
            words.append(f"It must follow this grammar ({syntax or 'lark'}):\n{definition}")
    return "\n\n".join(words)


# Reading the choice


class _Chooser:
    """Read `tool_choice` in its every form (docs/wire.md 3.7)."""

    def __init__(self, by_key: dict[_Key, Tool], dropped: list[str]) -> None:
        self._by_key = by_key
        self._dropped = dropped

    def read(self, wish: Any) -> tuple[Choice, Tool | None, frozenset[str] | None]:
        match wish:
            case None | "auto":
                return "auto", None, None
            case "none":
                return "none", None, None
            case "required":
                self._demand_some(self._by_key)
                return "required", None, None
            case {"type": "allowed_tools", "tools": [*entries]}:
                return self._allowed(entries, wish.get("mode") == "required")
            case {"type": "function" | "custom"}:
                return "forced", self._one(wish, "tool_choice"), None
            case {"type": "allowed_tools"}:
                raise BadRequest("'tool_choice.tools' must be a list.", param="tool_choice.tools")
            case {"type": str(kind)}:
                raise _hosted(kind, "tool_choice")
        raise BadRequest(
            "'tool_choice' must be 'auto', 'none', 'required' or an object naming a tool.",
            param="tool_choice",
        )

    def _allowed(
        self, entries: list[Any], is_required: bool
    ) -> tuple[Choice, None, frozenset[str]]:
        names: set[str] = set()
        for i, entry in enumerate(entries):
            names.update(self._named(entry, f"tool_choice.tools[{i}]"))
        if not is_required:
            return "auto", None, frozenset(names)
        self._demand_some(names)
        return "required", None, frozenset(names)

    def _named(self, entry: Any, at: str) -> Iterator[str]:
        match entry:
            case {"type": "namespace", "name": str(namespace)}:
                for key, tool in self._by_key.items():
                    if key.namespace == namespace:
                        yield tool.wire_name
            case {"type": "function" | "custom"}:
                yield self._one(entry, at).wire_name
            case {"type": str()}:
                return  # a hosted tool, left out anyhow
            case _:
                raise BadRequest(f"'{at}' must be an object naming a tool.", param=at)

    def _one(self, wish: Json, at: str) -> Tool:
        kind, name, namespace = wish["type"], wish.get("name"), wish.get("namespace")
        for key, tool in self._by_key.items():
            if (key.kind, key.name) == (kind, name) and namespace in {None, key.namespace}:
                return tool
        raise BadRequest(
            f"'{at}' names the {kind} {name!r}, which is not among the tools.", param=f"{at}.name"
        )

    def _demand_some(self, tools: Any) -> None:
        if tools:
            return
        if self._dropped:
            raise _hosted(self._dropped[0], "tool_choice")
        raise BadRequest(
            "'tool_choice' demands a call, but there are no tools.", param="tool_choice"
        )


def _hosted(kind: str, at: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"'{at}' demands the hosted tool {kind!r}, which the provider of this model cannot run.",
        param=at,
    )


def _answer_tool(
    canonical: Json, target: ResolvedTarget | None, choice: Choice, taken: dict[str, Tool]
) -> Tool | None:
    """Offer a tool that takes the answer, but only where the model is free to answer."""
    form = answer_format.find_format(canonical)
    if target is None or form is None:
        return None
    if choice in {"required", "forced"} or answer_format.native(form, target) is not None:
        return None
    key = _Key("function", None, ANSWER_TOOL)
    return Tool(
        wire_name=ANSWER_TOOL if ANSWER_TOOL not in taken else _shorten(ANSWER_TOOL, key),
        kind="function",
        name=ANSWER_TOOL,
        namespace=None,
        description=answer_format.tool_description(form),
        parameters=answer_format.tool_schema(form),
        strict=None,
    )
