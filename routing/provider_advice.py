"""What would keep a new provider from answering, told when it is added and not at its first call."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from routing import egress
from routing.catalogue import NewProvider
from routing.models import Provider

_VERSION = re.compile(r"/v\d+\w*(/|\Z)")
# What vendors put where others have a version: Gemini and Azure, Vertex, GitHub and Azure, Databricks.
_UNVERSIONED_PATHS = ("/openai", "/openapi", "/inference", "/models", "/serving-endpoints")
# https://docs.perplexity.ai/api-reference, https://api-docs.deepseek.com: right below the host.
_UNVERSIONED_HOSTS = frozenset({"api.perplexity.ai", "api.deepseek.com"})
# Names that lead nowhere but into one's own network: RFC 6762, RFC 8375, ICANN's .internal, Kubernetes.
_LOCAL_NAMES = (".localhost", ".local", ".lan", ".home.arpa", ".internal", ".svc")
_ROUTES = ("/chat/completions", "/responses", "/messages")


def warnings(new: NewProvider) -> list[str]:
    """One sentence for each thing that is missing or looks wrong, with what to do about it."""
    return [*_address(new), *_path(new), *_credential(new)]


def _address(new: NewProvider) -> Iterator[str]:
    host = urlsplit(new.base_url).hostname or ""
    if not new.allow_private_network and _is_private(host):
        yield (
            f"{host} is a private address, so every call will be refused: set 'Allow private network' on its "
            "page in the console, or add it with --allow-private."
        )


def _is_private(host: str) -> bool:
    """By the look of it: a name is not resolved, because the gateway may run elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)
    try:
        egress.check_address(host, allow_private=False)
    except egress.ForbiddenAddress:
        return True
    return False


def _path(new: NewProvider) -> Iterator[str]:
    parts = urlsplit(new.base_url)
    path = parts.path.rstrip("/")
    route = next((route for route in _ROUTES if path.endswith(route)), None)
    if route is not None:
        base = new.base_url.rstrip("/").removesuffix(route)
        yield f"The base URL must end before {route}, which the gateway adds: probably {base}."
    elif not (
        _VERSION.search(path)
        or path.endswith(_UNVERSIONED_PATHS)
        or parts.hostname in _UNVERSIONED_HOSTS
    ):
        base = f"{parts.scheme}://{parts.netloc}{path}/v1"
        yield (
            f"The base URL has no version, which most servers want: probably {base}. "
            f"'manage.py sync_models {new.name}' asks it for its models, and so tells whether it is right."
        )


def _credential(new: NewProvider) -> Iterator[str]:
    if new.secret is None and new.auth_kind != Provider.AuthKind.NONE:
        yield (
            "It has no credential yet: add one in the console, or use --secret-env. A server that wants none "
            "is added with --auth none."
        )
