"""Check the configuration of a guardrail when its row is saved, with errors that name the field.

    terms          terms: up to 5,000 words or phrases; label
    pattern        patterns: [{name, pattern}], in RE2's syntax, with matches of a bounded length
    pii            entities: which kinds of personal data; all by default
    secrets        types: which kinds of credentials; all by default
    tools          allowed_functions, denied_functions, allowed_types, denied_types, allowed_servers,
                   denied_servers, max_arguments_bytes
    input_limits   max_tokens, max_images, max_files, denied_roles

Those that read texts also take opaque: pass (default) or refuse, for what cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from responses_api.guardrails import credentials, pii
from responses_api.guardrails.expression import InvalidExpression
from responses_api.guardrails.shape import read_shape
from responses_api.guardrails.spec import Kind
from responses_api.guardrails.terms import MAX_TERM, MAX_TERMS, TermList

MAX_PATTERNS = 100
MAX_NAMES = 200
MAX_NAME = 128
ROLES = ("user", "assistant", "system", "developer", "tool")
NAME_LISTS = (
    "allowed_functions",
    "denied_functions",
    "allowed_types",
    "denied_types",
    "allowed_servers",
    "denied_servers",
)
MAXIMA = ("max_tokens", "max_images", "max_files")
_LABEL = re.compile(r"[A-Z][A-Z0-9_]{0,39}\Z")
_RULE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


class InvalidConfig(ValueError):
    """A field of a guardrail's configuration is wrong; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"'{field}' {message}.")
        self.field = field


def validate(kind: Kind, config: dict[str, Any]) -> None:
    """Raise InvalidConfig unless the configuration of a local kind can be used. That of external kinds is
    not looked at."""
    check = _CHECKS.get(kind)
    if check is None:
        return
    known, look = check
    for field in config:
        if field not in known:
            raise InvalidConfig(field, f"is not known to guardrails of the kind {kind!r}")
    if config.get("opaque", "pass") not in {"pass", "refuse"}:
        raise InvalidConfig("opaque", "must be 'pass' or 'refuse'")
    look(config)


def _check_terms(config: dict[str, Any]) -> None:
    terms = _texts(config, "terms", MAX_TERMS, MAX_TERM)
    if not terms:
        raise InvalidConfig("terms", "must hold at least one word or phrase")
    for position, term in enumerate(terms):
        if not TermList([term]).width:
            raise InvalidConfig(f"terms[{position}]", "holds no visible character")
    label = config.get("label", "REDACTED")
    if not isinstance(label, str) or not _LABEL.match(label):
        raise InvalidConfig("label", "must be of capital letters, digits and underscores")


def _check_patterns(config: dict[str, Any]) -> None:
    patterns = config.get("patterns")
    if not isinstance(patterns, list) or not 1 <= len(patterns) <= MAX_PATTERNS:
        raise InvalidConfig("patterns", f"must be a list of 1 to {MAX_PATTERNS} objects")
    names: set[str] = set()
    for position, entry in enumerate(patterns):
        at = f"patterns[{position}]"
        if not isinstance(entry, dict) or set(entry) != {"name", "pattern"}:
            raise InvalidConfig(at, "must be an object of 'name' and 'pattern'")
        name, pattern = entry["name"], entry["pattern"]
        if not isinstance(name, str) or not _RULE_NAME.match(name):
            raise InvalidConfig(
                f"{at}.name",
                "must begin with a small letter and hold letters, digits and underscores",
            )
        if name in names:
            raise InvalidConfig(f"{at}.name", f"repeats {name!r}")
        names.add(name)
        _check_pattern(pattern, f"{at}.pattern")


def _check_pattern(pattern: Any, at: str) -> None:
    if not isinstance(pattern, str) or not 1 <= len(pattern) <= 2_000:
        raise InvalidConfig(at, "must be a text of at most 2,000 characters")
    try:
        read_shape(pattern)
    except InvalidExpression as error:
        raise InvalidConfig(at, f"cannot be used: {error}") from None


def _check_choice(field: str, known: Collection[str]) -> Callable[[dict[str, Any]], None]:
    def check(config: dict[str, Any]) -> None:
        for position, name in enumerate(_texts(config, field, MAX_NAMES, MAX_NAME)):
            if name not in known:
                choices = ", ".join(sorted(known))
                raise InvalidConfig(f"{field}[{position}]", f"is {name!r}; known are {choices}")
        if config.get(field) == []:
            raise InvalidConfig(field, "must name at least one, or be left out for all")

    return check


def _check_tools(config: dict[str, Any]) -> None:
    if not config:
        raise InvalidConfig(
            "config", f"must have one of {', '.join(NAME_LISTS)}, max_arguments_bytes"
        )
    for field in NAME_LISTS:
        _texts(config, field, MAX_NAMES, MAX_NAME)
    _check_maximum(config, "max_arguments_bytes")


def _check_limits(config: dict[str, Any]) -> None:
    if not config:
        raise InvalidConfig("config", f"must have one of {', '.join(MAXIMA)}, denied_roles")
    for field in MAXIMA:
        _check_maximum(config, field)
    for position, role in enumerate(_texts(config, "denied_roles", len(ROLES), MAX_NAME)):
        if role not in ROLES:
            raise InvalidConfig(f"denied_roles[{position}]", f"must be one of {', '.join(ROLES)}")


def _check_maximum(config: dict[str, Any], field: str) -> None:
    value = config.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise InvalidConfig(field, "must be a whole number of 0 or more")


def _texts(config: dict[str, Any], field: str, most: int, longest: int) -> list[str]:
    """Return a list of texts that may be left out. Raise InvalidConfig."""
    values = config.get(field, [])
    if not isinstance(values, list) or len(values) > most:
        raise InvalidConfig(field, f"must be a list of at most {most:,} texts")
    for position, value in enumerate(values):
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise InvalidConfig(
                f"{field}[{position}]", f"must be a text of 1 to {longest} characters"
            )
    return values


_READS = frozenset({"opaque"})
_CHECKS: dict[str, tuple[frozenset[str], Callable[[dict[str, Any]], None]]] = {
    "terms": (_READS | {"terms", "label"}, _check_terms),
    "pattern": (_READS | {"patterns"}, _check_patterns),
    "pii": (_READS | {"entities"}, _check_choice("entities", pii.RULES)),
    "secrets": (_READS | {"types"}, _check_choice("types", credentials.RULES)),
    "tools": (frozenset({*NAME_LISTS, "max_arguments_bytes"}), _check_tools),
    "input_limits": (frozenset({*MAXIMA, "denied_roles"}), _check_limits),
}
