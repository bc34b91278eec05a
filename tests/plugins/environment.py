"""Gives every test run a data directory of its own, before the settings are read."""

from __future__ import annotations

import os
import tempfile

_directory = tempfile.TemporaryDirectory(prefix="tollgate-tests-")
os.environ["TOLLGATE_DATA_DIR"] = _directory.name
os.environ["TOLLGATE_LOG_FORMAT"] = "json"
os.environ["TOLLGATE_ALLOWED_HOSTS"] = (
    "localhost,127.0.0.1,[::1],gateway,x"  # what tests write by hand
)
os.environ["TOLLGATE_SPOOL_LEAST_FREE_PERCENT"] = "0"  # how full this machine is proves nothing
os.environ["TOLLGATE_CONNECT_SECONDS"] = "60"  # the provider may get no turn on a busy machine
os.environ["TOLLGATE_FAILED_AUTH_LIMIT"] = (
    "none"  # tests come from one address, with many a wrong key
)
for name in [name for name in os.environ if name.endswith("_API_KEY")]:
    del os.environ[name]  # no test may reach a real provider
