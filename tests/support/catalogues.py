"""Read message catalogues without gettext's programs, and find in the source what has to be in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.template.base import Lexer, TokenType
from django.utils.translation.template import (
    block_re,
    constant_re,
    endblock_re,
    inline_re,
    plural_re,
)

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("gateway_project", "tenants", "routing", "responses_api")
SINGLE = frozenset({"gettext", "gettext_lazy", "gettext_noop"})
PLURAL = frozenset({"ngettext", "ngettext_lazy"})


@dataclass(slots=True)
class Entry:
    """A message of a .po file, with its translations: one, or one for each plural form."""

    message: str = ""
    plural: str = ""
    said: list[str] = field(default_factory=list)
    is_fuzzy: bool = False


def read_po(path: Path) -> list[Entry]:
    """Read a .po file as msgfmt does; the first entry is the header."""
    entries: list[Entry] = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#~")]
        entry = Entry(is_fuzzy=any(re.match(r"#,.*\bfuzzy\b", line) for line in lines))
        parts = [line for line in lines if line and not line.startswith("#")]
        for line in parts:
            keyword, _, quoted = line.partition(" ")
            if line.startswith('"'):
                keyword, quoted = "", line
            _take(entry, keyword, ast.literal_eval(quoted))
        if parts:
            entries.append(entry)
    return entries


def _take(entry: Entry, keyword: str, text: str) -> None:
    """Add a line of a .po file to its entry; a line without a keyword goes on with the one before."""
    if keyword.startswith("msgstr"):
        entry.said.append(text)
    elif keyword == "msgid":
        entry.message = text
    elif keyword == "msgid_plural":
        entry.plural = text
    elif keyword:
        raise ValueError(f"There is a {keyword}, which this reader does not know.")
    elif entry.said:
        entry.said[-1] += text
    elif entry.plural:
        entry.plural += text
    else:
        entry.message += text


def marked() -> Iterator[tuple[str, str, str]]:
    """Yield where a text is marked for translation, the text, and its plural or nothing."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not {"migrations", "sandbox"} & set(path.parts):
                yield from _in_python(path)
    folders = (ROOT / "templates", *(ROOT / room / "templates" for room in ROOMS))
    for folder in folders:
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            yield from _in_template(path)


def _in_python(path: Path) -> Iterator[tuple[str, str, str]]:
    source = path.read_text(encoding="utf-8")
    if "django.utils.translation" not in source:
        return
    tree = ast.parse(source)
    named = {
        alias.asname or alias.name: alias.name
        for each in ast.walk(tree)
        if isinstance(each, ast.ImportFrom) and each.module == "django.utils.translation"
        for alias in each.names
    }
    for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        name = named.get(call.func.id, "") if isinstance(call.func, ast.Name) else ""
        texts = [str(each.value) for each in call.args if isinstance(each, ast.Constant)]
        place = f"{path.relative_to(ROOT)}:{call.lineno}"
        if name in SINGLE and texts:
            yield place, texts[0], ""
        elif name in PLURAL and len(texts) > 1:
            yield place, texts[0], texts[1]


def _in_template(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what templates mark: by tags, by `_("…")` in others, and by blocks."""
    place = str(path.relative_to(ROOT))
    tokens = iter(Lexer(path.read_text(encoding="utf-8")).tokenize())
    for token in tokens:
        if token.token_type not in {TokenType.BLOCK, TokenType.VAR}:
            continue
        for constant in constant_re.findall(token.contents):
            yield place, _escaped(constant), ""
        if token.token_type == TokenType.BLOCK and (found := inline_re.match(token.contents)):
            yield place, _escaped(found[1]), ""
        if token.token_type == TokenType.BLOCK and block_re.match(token.contents):
            yield place, *_block(tokens, is_trimmed=" trimmed" in token.contents)


def _escaped(quoted: str) -> str:
    """Return a text in quotes as Django looks it up."""
    return quoted[1:-1].replace("%", "%%")


def _block(tokens: Iterator[object], *, is_trimmed: bool) -> tuple[str, str]:
    """Return the text between blocktranslate and its end, and the plural's."""
    parts = [""]
    for token in tokens:
        contents, kind = token.contents, token.token_type  # type: ignore[attr-defined]
        if kind == TokenType.BLOCK and endblock_re.match(contents):
            break
        if kind == TokenType.BLOCK and plural_re.match(contents):
            parts.append("")
        elif kind == TokenType.VAR:
            parts[-1] += f"%({contents.strip()})s"
        else:
            parts[-1] += contents.replace("%", "%%")
    if is_trimmed:
        parts = [" ".join(line.strip() for line in each.strip().splitlines()) for each in parts]
    return parts[0], parts[1] if len(parts) > 1 else ""
