"""Read a file of configuration: YAML without what surprises people or machines.

Anchors, aliases, tags and merge keys are refused, so a file is as large as it looks. Numbers, true, false and
null are those of JSON: `no`, `on`, `0123` and `2026-01-31` are texts. Numbers with a point keep every digit.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar

import yaml
from django.core.exceptions import ValidationError

from tenants.configuration import places

MOST_BYTES = 1_000_000
MOST_DEPTH = 12
MOST_VALUES = 100_000

_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT = (f"{_TAG}{name}" for name in ("null", "bool", "int", "float"))


class _Loader(yaml.SafeLoader):
    """Composes nodes and constructs nothing."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # type: ignore[misc]  # as PyYAML has it
    depth = 0
    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self.values += 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused(event, "Anchors and aliases (& and *) are not read; write it out.")
        if getattr(event, "tag", None):
            raise _refused(event, f"Tags such as {event.tag!r} are not read.")
        if self.depth >= MOST_DEPTH or self.values > MOST_VALUES:
            message = f"At most {MOST_DEPTH} levels and {MOST_VALUES} values are read."
            raise _refused(event, message)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


# What PyYAML writes without quotes is a text for these, too.
_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:null|~|)\Z"), ["n", "~", ""])
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|false)\Z"), ["t", "f"])
_DIGITS = list("-0123456789")
_Loader.add_implicit_resolver(_INT, re.compile(r"-?(?:0|[1-9][0-9]{0,18})\Z"), _DIGITS)
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]{0,18})\.[0-9]{1,30}(?:e[-+][0-9]{1,3})?\Z")
_Loader.add_implicit_resolver(_FLOAT, _FRACTION, _DIGITS)


def read(content: bytes) -> dict[str, Any]:
    """Return what the file says, as plain values. Raise ValidationError that says where it is wrong."""
    if len(content) > MOST_BYTES:
        raise ValidationError(f"The file is larger than {MOST_BYTES} bytes.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValidationError("The file is not text in UTF-8.") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValidationError(f"The file is not YAML: {_told(error)}") from None
    if node is None:
        raise ValidationError("The file is empty.")
    if not isinstance(node, yaml.MappingNode):
        raise ValidationError("The file must be a mapping with 'platform' and 'tenants'.")
    plain: dict[str, Any] = _plain(node, "")
    return plain


def _plain(node: Any, place: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, f"{place}[{index}]") for index, each in enumerate(node.value)]
    return _scalar(node.tag, node.value, place)


def _mapping(node: Any, place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        is_text = isinstance(key_node, yaml.ScalarNode) and key_node.tag == f"{_TAG}str"
        if not is_text:
            line = key_node.start_mark.line + 1
            raise ValidationError({place or "file": f"Line {line}: a field's name is a text."})
        name = str(key_node.value)
        within = places.join(place, name)
        if name in found:
            line = key_node.start_mark.line + 1
            raise ValidationError({within: f"It is given twice, the second time in line {line}."})
        found[name] = _plain(value_node, within)
    return found


def _scalar(tag: str, text: str, place: str) -> Any:
    if tag == _NULL:
        return None
    if tag == _BOOL:
        return text == "true"
    if tag == _INT:
        return int(text)
    if tag == _FLOAT:
        return Decimal(text)
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        message = "Text may hold no null character and no half of a character."
        raise ValidationError({place: message})
    return text


def _refused(event: Any, message: str) -> yaml.YAMLError:
    mark = event.start_mark
    return yaml.YAMLError(f"line {mark.line + 1}, column {mark.column + 1}: {message}")


def _told(error: yaml.YAMLError) -> str:
    """Return the problem and its line, without the text around it, which may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        first = str(error).splitlines()
        return first[0] if first else "it cannot be read."
    where = f"line {mark.line + 1}, column {mark.column + 1}"
    return f"{where}: {getattr(error, 'problem', None) or 'it cannot be read'}."
