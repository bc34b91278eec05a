"""A process that spends of its key's budgets as fast as it can. Run it with a key's public id, and with
`--until-refused` if it is to end. It prints a line once it has begun, and one once it has spent something."""

from __future__ import annotations

import asyncio
import functools
import random
import sys
from types import SimpleNamespace
from typing import Any, cast

import django

PICO = 1_000_000_000  # a dollar per thousand tokens
CALLERS = 8


@functools.cache
def told(what: str) -> None:
    """Print a line, once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def spend(caller: Any, spool_writer: Any, budgets: Any, *, is_endless: bool) -> None:
    """Calls that hold, hold more while they run, and are charged for some of it."""
    from gateway_project.lib import ids  # noqa: PLC0415  # after the settings, as what follows
    from gateway_project.lib.errors import BudgetExhausted  # noqa: PLC0415
    from responses_api.accounting.metered_call import CallEnd  # noqa: PLC0415
    from responses_api.accounting.request_costs import RequestCosts  # noqa: PLC0415
    from responses_api.doors.shapes import ModelCall  # noqa: PLC0415
    from tenants.prices.history import History  # noqa: PLC0415
    from tenants.prices.rating import Line, terms  # noqa: PLC0415
    from tenants.token_classes import Usage  # noqa: PLC0415
    from tests.support.targets import target  # noqa: PLC0415

    lines = [Line("input_fresh", PICO), Line("output_visible", PICO)]
    priced = History((terms(1, 0.0, lines),))
    lane = target("responses", cost=priced, charge=priced)
    payload = b"x" * 100
    body: Any = {"max_output_tokens": 20}
    call = ModelCall("responses", "m", True, False, body, len(payload))
    route = SimpleNamespace(alias="m", requested_model="")
    while True:
        costs = RequestCosts(
            spool_writer,
            budgets,
            request_id=ids.request_id(),
            caller=caller,
            route=cast("Any", route),
        )
        try:
            leg, _ = await costs.open(lane, "responses", call, body, payload)
        except BudgetExhausted:
            if not is_endless:
                return
            await asyncio.sleep(0.01)
            continue
        written = 0
        for _ in range(random.randrange(6)):
            await asyncio.sleep(random.random() / 100)
            written += random.randrange(40)
            if not leg.covers(written) and not await leg.cover(written):
                break
        usage = Usage(input_fresh=random.randrange(100), output_visible=written)
        leg.settle(CallEnd("completed", usage, "provider", 200))
        if written:
            told("spent")


async def main(key_id: str, *, is_endless: bool) -> None:
    from asgiref.sync import sync_to_async  # noqa: PLC0415

    from gateway_project.lib.writer import Writer  # noqa: PLC0415
    from gateway_project.serving.record_kinds import RECORD_KINDS  # noqa: PLC0415
    from gateway_project.serving.worker import spool_from_settings  # noqa: PLC0415
    from responses_api.accounting.spool_writer import SpoolWriter  # noqa: PLC0415
    from tenants.budgets.accounts import BudgetLeases  # noqa: PLC0415
    from tenants.budgets.terms import of_key  # noqa: PLC0415
    from tenants.models import ApiKey  # noqa: PLC0415

    key = await ApiKey.objects.select_related("tenant").aget(public_id=key_id)
    caller = SimpleNamespace(
        tenant_id=key.tenant_id,
        tenant_slug=key.tenant.slug,
        key_id=key.pk,
        key_public_id=key.public_id,
        budgets=await sync_to_async(of_key)(key),
        list_budgets=(),
        end_user="",
    )
    writer = Writer(asyncio.get_running_loop(), RECORD_KINDS)
    spool_writer = SpoolWriter(spool_from_settings())
    budgets = BudgetLeases(writer.write, spool_writer.name)
    budgets.start()
    spool_writer.start()
    told("spending")
    spenders = [spend(caller, spool_writer, budgets, is_endless=is_endless) for _ in range(CALLERS)]
    await asyncio.gather(*spenders)
    await budgets.stop()
    await writer.stop()
    await spool_writer.stop()


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(sys.argv[1], is_endless="--until-refused" not in sys.argv))
