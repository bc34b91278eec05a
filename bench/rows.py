"""The rows the gateway needs: a tenant with a key, and an alias per cell, over a provider with a secret.

Made by the commands an operator would use, in a database of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench.calls import UPSTREAMS
from bench.processes import ROOT

SECRET_VARIABLE = "BENCH_PROVIDER_KEY"


def make(variables: dict[str, str], sandbox_port: int) -> str:
    """Migrate and make the rows; the API key."""
    with_secret = {**variables, SECRET_VARIABLE: "bench-provider-secret"}
    _manage(variables, "migrate", "--verbosity", "0")
    _answer(variables, "create_tenant", "Bench", "--slug", "bench")
    for upstream in UPSTREAMS:
        provider = f"bench-{upstream}"
        _answer(
            with_secret, "add_provider", provider, "--protocol", upstream, "--allow-private",
            "--base-url", f"http://127.0.0.1:{sandbox_port}/v1", "--secret-env", SECRET_VARIABLE,
        )  # fmt: skip
        _answer(variables, "add_alias", f"sandbox-{upstream}", "--target", f"{provider}/sandbox-1")
    key: str = _answer(variables, "create_key", "--tenant", "bench", "--name", "bench")["key"]
    return key


def _answer(variables: dict[str, str], *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_manage(variables, *arguments, "--json"))
    return answer


def _manage(variables: dict[str, str], *arguments: str) -> bytes:
    command = [sys.executable, "manage.py", *arguments]
    run = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)
    return run.stdout
