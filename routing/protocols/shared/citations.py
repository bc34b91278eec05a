"""Turn citations of every vendor into annotations of a Response's output_text (docs/wire.md 4.7).

Indexes count the characters of the text the annotation belongs to. A vendor that only lists its sources
says nothing about places: such a citation spans the whole text.
"""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from routing.protocols.shared.fields import dicts, mapping, text


def of_chat(annotations: Any) -> tuple[Json, ...]:
    """Read `annotations` of a chat message, which nests what the Responses API has flat."""
    return tuple(
        _url_citation(
            mapping(annotation.get("url_citation")) or annotation,
            annotation.get("start_index", 0),
            annotation.get("end_index", 0),
        )
        for annotation in dicts(annotations)
        if annotation.get("type") == "url_citation"
    )


def of_sources(answer: Json, length: int) -> tuple[Json, ...]:
    """Read `citations` beside the choices (Perplexity, xAI), titled by `search_results` if there are any."""
    urls = answer.get("citations")
    titles = {
        found.get("url"): found.get("title")
        for found in dicts(answer.get("search_results"))
        if isinstance(found.get("url"), str)
    }
    if not isinstance(urls, list):
        urls = list(titles)
    return tuple(
        _url_citation({"url": url, "title": titles.get(url)}, 0, length)
        for url in urls
        if isinstance(url, str) and url
    )


def of_anthropic(citation: Json, start: int, end: int) -> Json | None:
    """Read a citation of a text block that spans `start` to `end`; None if it names no source.

    https://platform.claude.com/docs/en/build-with-claude/citations
    """
    if text(citation.get("url")):
        return _url_citation(citation, start, end)
    if text(citation.get("file_id")):
        return {
            "type": "file_citation",
            "file_id": citation["file_id"],
            "filename": text(citation.get("document_title")),
            "index": start,
        }
    return None


def _url_citation(source: Json, start: Any, end: Any) -> Json:
    url = text(source.get("url"))
    return {
        "type": "url_citation",
        "url": url,
        "title": text(source.get("title")) or url,
        "start_index": source.get("start_index", start),
        "end_index": source.get("end_index", end),
    }
