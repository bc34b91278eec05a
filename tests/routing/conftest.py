"""A sandbox upstream on a real port, and clients for it."""

import httpx
import pytest
from openai import AsyncOpenAI

from gateway_project.sandbox import SandboxServer
from tests.support.patience import GIVE_UP_SECONDS

CREATED = 1_800_000_000


@pytest.fixture
async def sandbox():
    async with SandboxServer(clock=lambda: CREATED) as server:
        yield server
    assert server.open_connections == 0


@pytest.fixture
async def http(sandbox):
    async with httpx.AsyncClient(base_url=sandbox.base_url, timeout=GIVE_UP_SECONDS) as client:
        yield client


@pytest.fixture
async def openai_client(sandbox):
    async with AsyncOpenAI(
        base_url=sandbox.base_url, api_key="sk-sandbox", max_retries=0
    ) as client:
        yield client
