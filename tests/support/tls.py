"""One TLS context for all of the tests' HTTP clients.

Each client of httpx reads the certificates of the machine again, as does each of the OpenAI SDK, which has
another httpx: some 40 ms, for tests that only ever speak plain HTTP.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import httpx._transports.default
import httpx2._transports.default


def share_default_context() -> None:
    for user in (httpx._transports.default, httpx2._transports.default):
        _share(user)


def _share(user: ModuleType) -> None:
    make = user.create_ssl_context
    default = functools.cache(make)

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
        if verify is True and cert is None:
            return default(trust_env=trust_env)
        return make(verify=verify, cert=cert, trust_env=trust_env)

    vars(user)["create_ssl_context"] = create_ssl_context
