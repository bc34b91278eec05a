"""A reader beside the processes that spend: what it sees at every instant, of every budget."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any, Self

import psycopg

WINDOWS = """
SELECT b.id, b.amount_nano, w.spent_nano, w.reserved_nano
FROM tenants_budgetwindow w JOIN tenants_budget b ON b.id = w.budget_id
"""
CHARGED = (
    "SELECT count(*), sum(charge_nano), sum(unfunded_nano), sum(cost_nano) FROM tenants_usagerow"
)
Rows = list[tuple[Any, ...]]


class Reader:
    """Asks the database that these variables name."""

    def __init__(self, variables: dict[str, str]) -> None:
        url = variables.get("DATABASE_URL")
        path = f"file:{variables['TOLLGATE_DATA_DIR']}/tollgate.sqlite3?mode=ro"
        self._connection: Any = (
            sqlite3.connect(path, uri=True, timeout=30, check_same_thread=False)
            if url is None
            else psycopg.connect(url, autocommit=True)
        )

    def __call__(self, statement: str) -> Rows:
        found: Rows = self._connection.execute(statement).fetchall()
        return found

    def close(self) -> None:
        self._connection.close()


class Watch:
    """Looks again and again. `looks` is how often it did, `overruns` what it should not have seen."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._query = Reader(variables)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.looks = 0
        self.most = 0
        self.overruns: Rows = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(120)
        self._query.close()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            for row in self._query(WINDOWS):
                _, amount, spent, reserved = row
                self.most = max(self.most, spent + reserved)
                if spent + reserved > amount:
                    self.overruns.append(row)
            self.looks += 1
