"""Runs scenarios one after the other and prints one JSON object: what each of them told."""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

BASE_URL = os.environ["TOLLGATE_BASE_URL"]
API_KEY = os.environ["TOLLGATE_API_KEY"]
MODEL = os.environ["TOLLGATE_MODEL"]
FAILING_MODEL = os.environ["TOLLGATE_FAILING_MODEL"]

Scenario = Callable[[], Awaitable[Any]]


def tell(scenarios: dict[str, Scenario]) -> None:
    print(json.dumps(asyncio.run(_told(scenarios))))


async def _told(scenarios: dict[str, Scenario]) -> dict[str, Any]:
    return {name: await _outcome(scenario) for name, scenario in scenarios.items()}


async def _outcome(scenario: Scenario) -> Any:
    try:
        return await scenario()
    except Exception as error:  # noqa: BLE001 - the test shows it beside what was expected
        return {"unexpected": repr(error), "stack": traceback.format_exc()}


async def failure(attempt: Awaitable[Any], *fields: str) -> dict[str, Any]:
    """The error an attempt ends with, as the fields named."""
    try:
        await attempt
    except Exception as error:  # noqa: BLE001 - its class is the answer
        return {
            "name": type(error).__name__,
            **{field: getattr(error, field) for field in fields},
        }
    return {"name": "no error"}
