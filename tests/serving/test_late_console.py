"""Prove that a server holds no page of the console until somebody asks for one, and then all of them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
from django.contrib import admin

from gateway_project import asgi
from tests.processes.served import REDIS_AWAY
from tests.support.live import LiveGateway

PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
sys.argv = ["manage.py", *sys.argv[1:]]
import django
django.setup()
from django.contrib import admin
from django.urls import resolve
from gateway_project.serving import serve

def pages():
    return [name for name in sys.modules if ".admin." in name and not name.startswith("django.")]

serve.load_application(with_console=sys.argv[2:] == ["--workers=2"])
resolve("/v1/models")
print(bool(pages()), "httpx" in sys.modules, "redis" in sys.modules)
with ThreadPoolExecutor(4) as threads:
    found = list(threads.map(resolve, ["/console/", "/console/usage/", "/console/tenants/apikey/"] * 4))
print(len({page.view_name for page in found}))
print(sorted(model._meta.label for model in admin.site._registry))
"""


def _run(*arguments: str, **variables: str) -> list[str]:
    run = [sys.executable, "-c", PROGRAM, *arguments]
    environment = {**os.environ, **variables}
    ended = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
    return ended.stdout.splitlines()


def test_a_server_imports_the_console_with_the_first_request_for_it():
    before, found, models = _run("serve", "--workers=1")

    assert before == "False False False"
    assert found == "3"
    assert models == str(sorted(model._meta.label for model in admin.site._registry))


@pytest.mark.long
def test_several_workers_share_the_console_and_what_they_need_for_redis():
    assert _run("serve", "--workers=2", REDIS_URL=REDIS_AWAY)[0] == "True True True"


def test_pages_and_the_management_api_are_imported_beside_the_event_loop(
    gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
):
    threads: dict[str, set[int]] = {name: set() for name in asgi.LATE_ROUTES.values()}
    usual = importlib.import_module

    def noted(name: str, package: str | None = None) -> Any:
        threads.get(name, set()).add(threading.get_ident())
        return usual(name, package)

    monkeypatch.setattr(importlib, "import_module", noted)
    monkeypatch.setattr(asgi, "imported_routes", set())
    for path in ("/console/", "/api/v1/docs/"):
        assert httpx.get(f"{gateway.root_url}{path}").status_code in {200, 302}
    loop = gateway.call(threading.get_ident)
    for name, seen in threads.items():
        assert seen - {loop}, name
