"""Clients that call while something else happens, and what the books say of their calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.processes.served import Served
from tests.support.client import question
from tests.support.patience import GIVE_UP_SECONDS, until

CALLERS = 4
# So that they call all the time, and leave the machine to what else happens, however long it takes.
PACED = "[chunks=5] [pace=100]"
ROWS = """
import json
from tenants.models import Budget
from tests.responses_api.accounting.conftest import price
from tests.support import rows
customer = rows.customer("spender")
Budget.objects.create(
    tenant=customer.tenant, name="all", amount_nano=10**12, period="total")
upstream = rows.provider("chat", {url!r}, "vendor", secret="vendor-key-0123456789")
rows.alias("dear", (upstream, "sandbox-1"))
price("vendor", "sandbox-1")
print(json.dumps(customer.secret))
"""
BOOKS = """
import json
from tenants.models import BudgetLease, BudgetWindow, UsageRow
names = ("id", "status", "charge_nano", "cost_nano", "input_fresh", "output_visible", "tenant_slug")
rows = [[str(value) for value in row] for row in UsageRow.objects.order_by("id").values_list(*names)]
windows = list(BudgetWindow.objects.values_list("spent_nano", "reserved_nano"))
print(json.dumps({"rows": rows, "windows": windows, "leases": BudgetLease.objects.count()}))
"""


class Callers:
    """Clients that ask again and again; `ended` are the requests they saw the end of, in order."""

    def __init__(self, served: Served, secret: str) -> None:
        self.ended: list[str] = []
        self._refused: list[str] = []
        self._url = f"{served.root_url}/v1/chat/completions"
        self._headers = {"authorization": f"Bearer {secret}"}
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    @contextmanager
    def calling(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join(GIVE_UP_SECONDS)

    def wait_for(self, more: int) -> None:
        wanted = len(self.ended) + more
        until(lambda: bool(self._refused) or len(self.ended) >= wanted)
        assert self._refused == []

    def _call(self) -> None:
        with httpx.Client(headers=self._headers, timeout=GIVE_UP_SECONDS, trust_env=False) as http:
            while not self._stopped.is_set():
                body = question("chat", "dear", PACED, stream=True)
                answer = http.post(self._url, json=body)
                if answer.status_code != 200:
                    self._refused.append(answer.text)
                    return
                self.ended.append(answer.headers["x-request-id"].removeprefix("req_"))


def rows_of(found: dict[str, Any]) -> dict[str, list[str]]:
    return {row[0].replace("-", ""): row for row in found["rows"]}
