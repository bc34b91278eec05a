"""Ask the database several small questions by one statement, for pages of many facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet

Row = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class SmallQuestion:
    """A SELECT of so many columns. What it finds comes as text, in no order."""

    sql: str
    columns: int
    parameters: Sequence[Any] = ()


def rows(found: QuerySet[Any, Any], *fields: str) -> SmallQuestion:
    """Ask for these fields of the rows."""
    # An order only decides which rows come, where their number is limited.
    plain = found if found.query.is_sliced else found.order_by()
    sql, parameters = plain.values_list(*fields).query.sql_with_params()
    return SmallQuestion(sql, len(fields), parameters)


def count(found: QuerySet[Any, Any]) -> SmallQuestion:
    """Ask how many rows there are."""
    inner = rows(found, "pk")
    return SmallQuestion(f"SELECT COUNT(*) FROM ({inner.sql}) c", 1, inner.parameters)  # noqa: S608


def ask(questions: Sequence[SmallQuestion]) -> list[list[Row]]:
    """Return the rows of each."""
    width = max(question.columns for question in questions)
    named, chosen = [], []
    parameters: list[Any] = []
    for place, question in enumerate(questions):
        columns = [f"c{number}" for number in range(question.columns)]
        named.append(f"q{place} ({', '.join(columns)}) AS ({question.sql})")
        texts = [f"CAST({column} AS text)" for column in columns]
        texts += ["CAST(NULL AS text)"] * (width - question.columns)
        chosen.append(f"SELECT {place}, {', '.join(texts)} FROM q{place}")  # noqa: S608
        parameters += question.parameters
    with connection.cursor() as cursor:
        cursor.execute(f"WITH {', '.join(named)} {' UNION ALL '.join(chosen)}", parameters)
        found = cursor.fetchall()
    answers: list[list[Row]] = [[] for _ in questions]
    for place, *values in found:
        answers[place].append(tuple(values[: questions[place].columns]))
    return answers
