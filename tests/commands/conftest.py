"""A data directory of its own for each test, no vendor's key in the environment, and a sandbox."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from gateway_project.lib import keyring
from gateway_project.sandbox import SandboxServer
from routing import credentials
from routing.vendors import VENDORS
from tenants.keys import peppers


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in {vendor.variable for vendor in VENDORS}:
        monkeypatch.delenv(name, raising=False)
    for name in ("TOLLGATE_KEY_ENCRYPTION_KEYS", "TOLLGATE_KEY_PEPPERS"):
        monkeypatch.delenv(name, raising=False)
    settings.DATA_DIR = tmp_path
    settings.KEY_ENCRYPTION_KEYS = lambda: keyring.from_file(tmp_path / "key_encryption_keys")
    settings.KEY_PEPPERS = lambda: keyring.from_file(tmp_path / "key_peppers")
    forget_keyrings()
    yield tmp_path
    forget_keyrings()


def forget_keyrings() -> None:
    credentials.keyring.cache_clear()
    peppers.keyring.cache_clear()


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A real server in a thread, because commands block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = SandboxServer(require_key="sandbox-key-0123456789")
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
