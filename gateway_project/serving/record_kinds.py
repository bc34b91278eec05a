"""The kinds of records that a worker process writes, in the order of their locks."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from gateway_project.lib.writer import Kind
from responses_api.background import runs
from responses_api.cache import table
from responses_api.cache.table import SealedAnswer
from responses_api.enforcement import recording
from responses_api.storage import idempotent_calls, records
from tenants.budgets import leases
from tenants.budgets.leases import Draw, DrawResult, GiveBack, Order


def _carry_out(cursor: CursorWrapper, orders: Sequence[Order]) -> list[DrawResult | None]:
    return leases.carry_out(orders)


# One transaction writes them in this order, in every process. Two processes with different orders could wait
# for each other's rows, so that the database would have to end one of them; also while a new release takes
# the place of an old one. Therefore a new kind may go anywhere, but those that are here keep their order.
RECORD_KINDS = (
    Kind((records.ResponseRecord,), records.write_responses),
    Kind((records.CompletionRecord,), records.write_completions),
    Kind((runs.Begin,), runs.write_begins),
    Kind((runs.Append,), runs.write_appends),
    Kind((runs.Finish,), runs.write_finishes),
    Kind((runs.RunRenewal,), runs.write_renewals),
    Kind((idempotent_calls.KeyClaim,), idempotent_calls.write_claims),
    Kind((idempotent_calls.KeyRenewal,), idempotent_calls.write_renewals),
    Kind((idempotent_calls.EndedCall,), idempotent_calls.write_endings),
    Kind((Draw, GiveBack), _carry_out),
    Kind((recording.EventRecord,), recording.write_events),
    Kind((SealedAnswer,), table.write_answers),
)
