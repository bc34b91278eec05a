"""Prove that workers whom nobody asks for the management API do not load what only it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import django
django.setup()
from django.urls import resolve, reverse
reverse("admin:index")
resolve("/v1/models")
resolve("/console/")
loaded = [name for name in sys.modules if name.startswith(("drf_spectacular", "tenants.api"))]
print([name for name in loaded if not name.startswith("drf_spectacular_sidecar")])
resolve("/api/v1/keys")
print("tenants.api.rows" in sys.modules, "drf_spectacular" in sys.modules)
"""


@pytest.mark.long  # Python imports everything anew
def test_routes_of_the_api_are_loaded_when_they_are_first_asked_for():
    run = [sys.executable, "-c", PROGRAM]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()

    assert told == ["[]", "True False"]
