"""Gives every test run a data directory of its own, before the settings are read."""

from __future__ import annotations

import os
import tempfile

# What a gateway, its provider or its client does for want of a turn on a busy machine proves nothing: give
# up, or show signs of life between what a test compares. What is about these limits sets them.
PATIENT = {
    "TOLLGATE_BODY_STALL_SECONDS": "120",
    "TOLLGATE_COMMIT_SECONDS": "600",
    "TOLLGATE_CONNECT_SECONDS": "60",
    "TOLLGATE_HEAD_SECONDS": "120",
    "TOLLGATE_KEEPALIVE_SECONDS": "600",
    "TOLLGATE_LARGE_BODY_WAIT_SECONDS": "120",
    "TOLLGATE_POOL_WAIT_SECONDS": "120",
}

_directory = tempfile.TemporaryDirectory(prefix="tollgate-tests-")
os.environ["TOLLGATE_DATA_DIR"] = _directory.name
os.environ["TOLLGATE_LOG_FORMAT"] = "json"
os.environ["TOLLGATE_ALLOWED_HOSTS"] = (
    "localhost,127.0.0.1,[::1],gateway,x"  # what tests write by hand
)
os.environ["TOLLGATE_SPOOL_LEAST_FREE_PERCENT"] = "0"  # how full this machine is proves nothing
os.environ.update(PATIENT)
os.environ["TOLLGATE_FAILED_AUTH_LIMIT"] = (
    "none"  # tests come from one address, with many a wrong key
)
for name in [name for name in os.environ if name.endswith("_API_KEY")]:
    del os.environ[name]  # no test may reach a real provider
