"""Export calls of the ledger to a file, some thousand rows a step."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from gateway_project.lib.csv_text import cell
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.billing import export
from tenants.long_work import asking
from tenants.long_work.asking import MOST_FILE_BYTES
from tenants.long_work.kinds import TaskFailed, TaskStep, task_kind
from tenants.long_work.running import TOO_LARGE
from tenants.managed.tables import USAGE_ROWS
from tenants.models import LongTask, TaskPiece, Tenant, UsageRow

Format = Literal["csv", "jsonl"]
FORMATS: tuple[Format, ...] = ("csv", "jsonl")
ROWS_AT_ONCE = 2_000
MOST_ALIAS = 300


def ask(  # each is something that is asked for
    who: Access,
    tenant: Tenant | None,
    start: datetime,
    end: datetime,
    *,
    alias: str = "",
    written_as: str = "csv",
) -> LongTask:
    """Ask for the calls opened in [start, end), of one tenant or of all. Raise PermissionDenied, or
    ValidationError.
    """
    if not who.may("view", Area.USAGE, None if tenant is None else tenant.pk):
        raise PermissionDenied
    if start >= end:
        raise ValidationError({"start": _("It must be before the end.")})
    if written_as not in FORMATS:
        raise ValidationError({"format": _("Use csv or jsonl.")})
    if len(alias) > MOST_ALIAS or "\0" in alias:
        raise ValidationError({"alias": _("No alias has such a name.")})
    parameters = {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "alias": alias,
        "format": written_as,
        "hidden": sorted(hidden_fields(who, tenant)),
    }
    return asking.begin(LongTask.Kind.USAGE_EXPORT, who, tenant, parameters)


def hidden_fields(who: Access, tenant: Tenant | None) -> frozenset[str]:
    """Return the columns that somebody is not shown of this tenant's calls."""
    return USAGE_ROWS.hidden(who, UsageRow(tenant=tenant))


@task_kind(LongTask.Kind.USAGE_EXPORT)
def next_step(task: LongTask) -> TaskStep:
    """Read some rows behind the last ones, and write them as a further piece of the file."""
    if not task.place:
        return TaskStep(place={"number": 0}, expected=_rows(task).count())
    columns = [name for name in export.FIELDS if name not in task.parameters["hidden"]]
    found = [export.told(row) for row in _behind(task).values(*columns)[:ROWS_AT_ONCE]]
    is_last, number = len(found) < ROWS_AT_ONCE, task.place["number"]
    text = _text(task, columns, found, is_first=number == 0)
    content = gzip.compress(text.encode(), mtime=0)
    if task.bytes + len(content) > MOST_FILE_BYTES:
        raise TaskFailed(TOO_LARGE)
    place = {"number": number + 1, **({} if is_last else _place(found[-1]))}
    piece = TaskPiece(task=task, number=number, content=content)
    return TaskStep(
        count=len(found),
        place=place,
        write=piece.save,
        bytes=len(content),
        ends_as=LongTask.State.DONE if is_last else None,
    )


def _rows(task: LongTask) -> QuerySet[UsageRow]:
    asked = task.parameters
    start, end = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
    rows = UsageRow.objects.filter(opened_at__gte=start, opened_at__lt=end)
    rows = rows if task.tenant_id is None else rows.filter(tenant=task.tenant_id)
    return rows.filter(alias=asked["alias"]) if asked["alias"] else rows


def _behind(task: LongTask) -> QuerySet[UsageRow]:
    rows, place = _rows(task), task.place
    if "at" in place:
        at, pk = datetime.fromisoformat(place["at"]), UUID(place["id"])
        rows = rows.filter(Q(opened_at__gt=at) | Q(opened_at=at, pk__gt=pk), opened_at__gte=at)
    return rows.order_by("opened_at", "pk")


def _place(row: Mapping[str, Any]) -> dict[str, str]:
    return {"at": row["opened_at"].isoformat(), "id": str(row["id"])}


def _text(
    task: LongTask, columns: list[str], rows: Iterable[Mapping[str, Any]], *, is_first: bool
) -> str:
    if task.parameters["format"] == "jsonl":
        return "".join(f"{export.written(row)}\n" for row in rows)
    names = ["request_id", *columns]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    if is_first:
        writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
    return file.getvalue()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, dict):
        return cell(json.dumps(value, ensure_ascii=False))
    return cell(value if isinstance(value, str) else export.plain(value))
