"""Set the stage: three providers here, and a gateway of four processes with a Redis, before them."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.processes import ROOT, NotReady

WORKERS = 4
TENANTS = 6
FIRST_BYTE_SECONDS = 3
# An alias over three equal lanes, whose calls stay together for no cache.
ROWS = """
import json
from routing.models import Alias, Provider, ProviderModel, Target
from tenants.keys import keys
from tenants.models import Tenant
alias = Alias.objects.create(name="fleet", affinity="none")
for number, port in enumerate({ports!r}):
    provider = Provider.objects.create(
        name=f"lane-{{number}}", protocol="chat", base_url=f"http://127.0.0.1:{{port}}/v1",
        auth_kind="none", allow_private_network=True,
    )
    model = ProviderModel.objects.create(provider=provider, upstream_id="sandbox-1")
    Target.objects.create(alias=alias, provider_model=model, position=0)
made = []
for number in range({tenants}):
    tenant = Tenant.objects.create(slug=f"tenant-{{number}}", name=f"Tenant {{number}}")
    made.append(keys.create(tenant, "fleet")[1].reveal())
print(json.dumps(made))
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway: its port, and a key of each tenant."""

    port: int
    keys: list[str]


@contextlib.contextmanager
def gateway(provider_ports: list[int]) -> Iterator[Gateway]:
    """Run the gateway with its rows; stop and remove it afterwards. Raise NotReady."""
    with tempfile.TemporaryDirectory(prefix="tollgate-fleet-") as folder, _redis(folder) as url:
        data_dir, log = Path(folder), Path(folder) / "gateway.log"
        variables = processes.environment(
            data_dir,
            REDIS_URL=url,
            TOLLGATE_FIRST_BYTE_SECONDS=str(FIRST_BYTE_SECONDS),
            TOLLGATE_LOG_FORMAT="json",
        )
        keys = _rows(variables, provider_ports)
        port = processes.free_port()
        serve = ["manage.py", "serve", "--host", "127.0.0.1", "--port", str(port)]
        with processes.running([*serve, "--workers", str(WORKERS)], variables, log):
            processes.wait_until_ready(port, "/readyz", log)
            yield Gateway(port, keys)


def _rows(variables: dict[str, str], ports: list[int]) -> list[str]:
    _manage(variables, "migrate", "--verbosity", "0")
    script = ROWS.format(ports=ports, tenants=TENANTS)
    said = _manage(variables, "shell", "--no-imports", "-v", "0", "-c", script)
    keys: list[str] = json.loads(said.splitlines()[-1])
    return keys


def _manage(variables: dict[str, str], *arguments: str) -> bytes:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True
    ).stdout


@contextlib.contextmanager
def _redis(folder: str) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise NotReady("redis-server is not installed.")
    port = processes.free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()
