"""Create the rows the gateway needs: a tenant with a key, and an alias per cell, over a provider with a
secret.

They are made by the commands an operator would use, in a database of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from bench.calls import UPSTREAMS
from bench.processes import ROOT

SECRET_VARIABLE = "BENCH_PROVIDER_KEY"
# Each command in one process: starting Django takes longer than any of them.
COMMANDS = """
import io
import json
from django.core.management import call_command
call_command("migrate", verbosity=0)
told = []
for command in {commands!r}:
    said = io.StringIO()
    call_command(*command, "--json", stdout=said)
    told.append(json.loads(said.getvalue()))
print(json.dumps(told))
"""
# What binds a metered key: more than a bench can use up, so that everything is counted and nothing refused.
METERED = """
from gateway_project.lib import clock
from tenants.models import ApiKey, Budget, PriceLine, PriceVersion, RateLimit
key = ApiKey.objects.get(name="metered")
for api_key in (None, key):
    name = "key" if api_key else "tenant"
    Budget.objects.create(tenant=key.tenant, api_key=api_key, name=name, amount_nano=10**15, period="monthly")
    for metric, window in (("requests", "minute"), ("tokens", "minute"), ("concurrency", "")):
        RateLimit.objects.create(
            tenant=key.tenant, api_key=api_key, metric=metric, window=window, amount=10**9
        )
for provider in {providers!r}:
    version = PriceVersion.objects.create(
        book="cost", provider=provider, model="sandbox-1", effective_from=clock.now()
    )
    for token_class, pico in (("input_fresh", 1_000_000), ("output_visible", 4_000_000)):
        PriceLine.objects.create(version=version, token_class=token_class, pico_per_token=pico)
    PriceVersion.objects.filter(pk=version.pk).update(published_at=clock.now())
"""
# Every local kind, in the largest size, over requests and answers; they find nothing in the bench's texts.
GUARDED = """
from bench.guardrails import KINDS
from responses_api.models import Guardrail
from tenants import managed
from tenants.access.access import OPERATOR
from tenants.models import Tenant
for kind, config in KINDS.items():
    given = {"tenant": Tenant.objects.get(slug="bench"), "name": kind, "kind": kind, "action": "mask",
             "stages": ["input", "output"], "config": config}
    managed.create(OPERATOR, Guardrail, given)
"""

# Aliases that keep answers beside those that keep none, over the same models.
KEEPING = """
from routing.models import Alias, Target
for upstream in {upstreams!r}:
    kept = Alias.objects.create(name=f"kept-{{upstream}}", cache_seconds=86_400, cache_any_temperature=True)
    for target in Target.objects.filter(alias__name=f"sandbox-{{upstream}}"):
        Target.objects.create(alias=kept, provider_model=target.provider_model)
"""


@dataclass(frozen=True, slots=True)
class Keys:
    """`plain`: bound by nothing; `metered`: by two budgets and six limits, its own and its tenant's."""

    plain: str
    metered: str


def make(variables: dict[str, str], sandbox_port: int) -> Keys:
    """Migrate and make the rows."""
    with_secret = {**variables, SECRET_VARIABLE: "bench-provider-secret"}
    commands = [["create_tenant", "Bench", "--slug", "bench"]]
    for upstream in UPSTREAMS:
        provider = f"bench-{upstream}"
        commands += [
            ["add_provider", provider, "--protocol", upstream, "--allow-private",
             "--base-url", f"http://127.0.0.1:{sandbox_port}/v1", "--secret-env", SECRET_VARIABLE],
            ["add_alias", f"sandbox-{upstream}", "--target", f"{provider}/sandbox-1"],
        ]  # fmt: skip
    commands += [
        ["create_tenant", "Metered", "--slug", "metered"],
        ["create_key", "--tenant", "bench", "--name", "bench"],
        ["create_key", "--tenant", "metered", "--name", "metered"],
    ]
    made = COMMANDS.format(commands=commands)
    metered = METERED.format(providers=[f"bench-{upstream}" for upstream in UPSTREAMS])
    script = "".join((made, metered, KEEPING.format(upstreams=UPSTREAMS)))
    *_, plain_key, metered_key = json.loads(_run_script(with_secret, script))
    return Keys(plain_key["key"], metered_key["key"])


def guard(variables: dict[str, str]) -> None:
    """Give the tenant of the plain key guardrails."""
    _run_script(variables, GUARDED)


def _run_script(variables: dict[str, str], script: str) -> bytes:
    arguments = ["shell", "--no-imports", "-v", "0", "-c", script]
    command = [sys.executable, "manage.py", *arguments]
    run = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, check=True)
    return run.stdout
