"""Warn of whatever would keep a new provider from answering, when it is added and not at its first call."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from routing.catalogue import NewProvider
from routing.models import Provider
from routing.upstream import egress

_VERSION = re.compile(r"/v\d+\w*(/|\Z)")
# What vendors put where others have a version: Gemini and Azure, Vertex, GitHub and Azure, Databricks.
_UNVERSIONED_PATHS = ("/openai", "/openapi", "/inference", "/models", "/serving-endpoints")
# https://docs.perplexity.ai/api-reference, https://api-docs.deepseek.com: right below the host.
_UNVERSIONED_HOSTS = frozenset({"api.perplexity.ai", "api.deepseek.com"})
# Names that lead nowhere but into one's own network: RFC 6762, RFC 8375, ICANN's .internal, Kubernetes.
_LOCAL_NAMES = (".localhost", ".local", ".lan", ".home.arpa", ".internal", ".svc")
_ROUTES = ("/chat/completions", "/responses", "/messages")


def warnings(new: NewProvider) -> list[str]:
    """Return a sentence for each thing that is missing or looks wrong, with what to do about it."""
    how = Remedies(
        private="set 'Allow private network' on its page in the console, or add it with --allow-private",
        path=f"'manage.py sync_models {new.name}' asks it for its models, and so tells whether it is right",
        credential="add one in the console, or use --secret-env. For a server that needs none use "
        "--auth none",
    )
    return [*_address(new, how), *_path(new, how), *_credential(new, how)]


def on_a_page(new: NewProvider, *, may_allow_private: bool) -> list[str]:
    """Return the same for whoever fills in a form."""
    how = Remedies(
        private="tick 'Allow private network'"
        if may_allow_private
        else "ask an operator to add it, or use a public address",
        path="'Test and list models' tells whether it is right",
        credential="enter it, or choose 'No credential' for a server that needs none",
    )
    return [*_address(new, how), *_path(new, how), *_credential(new, how)]


@dataclass(frozen=True, slots=True)
class Remedies:
    """Says what to do about each thing, in the words of a command line or of a page."""

    private: str
    path: str
    credential: str


def _address(new: NewProvider, how: Remedies) -> Iterator[str]:
    host = urlsplit(new.base_url).hostname or ""
    if not new.allow_private_network and _is_private(host):
        yield f"{host} is a private address, so every call will be refused: {how.private}."


def _is_private(host: str) -> bool:
    """Judge by the text: a name is not resolved, because the gateway may run elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)
    try:
        egress.check_address(host, allow_private=False)
    except egress.ForbiddenAddress:
        return True
    return False


def _path(new: NewProvider, how: Remedies) -> Iterator[str]:
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
            f"The base URL has no version, which most servers require: probably {base}. {how.path}."
        )


def _credential(new: NewProvider, how: Remedies) -> Iterator[str]:
    if new.secret is None and new.auth_kind != Provider.AuthKind.NONE:
        yield f"It has no credential yet: {how.credential}."
