"""One TLS context for all of the tests' HTTP clients.

Each client of httpx (and so each of the OpenAI SDK) reads the machine's certificates again: some 40 ms,
for tests that only ever speak plain HTTP.
"""

from __future__ import annotations

import functools
from typing import Any

import httpx._config
import httpx._transports.default


def share_default_context() -> None:
    make = httpx._config.create_ssl_context
    default = functools.cache(make)

    def create_ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
        if verify is True and cert is None:
            return default(trust_env=trust_env)
        return make(verify=verify, cert=cert, trust_env=trust_env)

    user: Any = httpx._transports.default
    user.create_ssl_context = create_ssl_context
