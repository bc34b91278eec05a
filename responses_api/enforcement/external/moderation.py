"""Speak the moderations route of the OpenAI API.

https://platform.openai.com/docs/api-reference/moderations
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from responses_api.enforcement.external.protocol import (
    ALLOWED,
    CheckQuestion,
    ExternalVerdict,
    MalformedVerdict,
    read_rule,
)

PATH = "/moderations"
DEFAULT_MODEL = "omni-moderation-latest"
FLAGGED = "flagged"


def write(question: CheckQuestion, model: str) -> dict[str, Any]:
    """Make the body: every text is an input of its own, so that each has its result."""
    return {"model": model, "input": [segment.text for segment in question.segments]}


def read(answer: Any, question: CheckQuestion, thresholds: Mapping[str, float]) -> ExternalVerdict:
    """Judge the results: a category with a threshold by its score, the others by the service's flag.

    Raise MalformedVerdict.
    """
    match answer:
        case {"results": list(results)} if len(results) == len(question.segments):
            reasons = [reason for each in results if (reason := _reason(each, thresholds))]
            return ExternalVerdict("block", reasons[0]) if reasons else ALLOWED
    raise MalformedVerdict("there is not one result for each input")


def _reason(result: Any, thresholds: Mapping[str, float]) -> str:
    """Return the category for which a text may not pass; empty if it may."""
    if not isinstance(result, dict) or not isinstance(result.get("flagged"), bool):
        raise MalformedVerdict("a result does not say whether it is flagged")
    scores, categories = result.get("category_scores") or {}, result.get("categories") or {}
    if not isinstance(scores, dict) or not isinstance(categories, dict):
        raise MalformedVerdict("'categories' or 'category_scores' is no object")
    over = [name for name, least in thresholds.items() if _score(scores, name) >= least]
    if over:
        return over[0]
    flagged = [name for name, is_so in categories.items() if is_so is True]
    judged = [name for name in flagged if name not in thresholds]
    if judged:
        return read_rule(judged[0], FLAGGED)
    # Flagged for nothing that is named: the service's word counts.
    return FLAGGED if result["flagged"] and not flagged else ""


def _score(scores: Mapping[str, Any], name: str) -> float:
    score = scores.get(name, 0.0)
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise MalformedVerdict("a score is no number")
    return float(score)
