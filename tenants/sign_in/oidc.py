"""Speak OpenID Connect: the authorization code flow with PKCE, and what an ID token must be to count.

OpenID Connect Core 1.0, section 3.1 (https://openid.net/specs/openid-connect-core-1_0.html). Every request to
the provider goes through `settings.IDENTITY_HTTP`, addresses from its own document included.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from django.conf import settings
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from gateway_project.lib import clock, ids
from gateway_project.lib.secret import Secret

# Signed with a key of the provider's own; "none" and keys that we share with it are no proof.
ALGORITHMS = [
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
]
LEEWAY_SECONDS = 60
FRESH_SECONDS = 10 * 60
PENDING_SECONDS = 15 * 60
SCOPE = "openid profile email"


class IdentityRefused(Exception):
    """The provider, or what it says, cannot be used; the message is for the person signing in."""


@dataclass(frozen=True, slots=True)
class Client:
    """Holds what a provider knows this console by."""

    issuer: str
    client_id: str
    secret: Secret | None
    allow_private: bool


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A sign-in that has left for the provider. It waits in the person's session."""

    provider: str
    issuer: str
    state: str
    nonce: str
    verifier: str
    token_endpoint: str
    jwks_uri: str
    began: float
    target: str
    again: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def begin(
    client: Client,
    provider: str,
    callback: str,
    *,
    target: str,
    again: bool,
) -> tuple[PendingSignIn, str]:
    """Return what to remember, and the provider's address to lead the browser to."""
    document = _discover(client)
    pending = PendingSignIn(
        provider=provider,
        issuer=client.issuer,
        state=ids.base62(32),
        nonce=ids.base62(32),
        verifier=ids.base62(64),
        token_endpoint=_endpoint(client, document, "token_endpoint"),
        jwks_uri=_endpoint(client, document, "jwks_uri"),
        began=clock.timestamp(),
        target=target,
        again=again,
    )
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": callback,
        "scope": SCOPE,
        "state": pending.state,
        "nonce": pending.nonce,
        "code_challenge": _challenge(pending.verifier),
        "code_challenge_method": "S256",
        **({"prompt": "login", "max_age": str(FRESH_SECONDS)} if again else {}),
    }
    address = _endpoint(client, document, "authorization_endpoint")
    return pending, f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"


def complete(
    client: Client, pending: PendingSignIn, callback: str, answer: Mapping[str, str]
) -> dict[str, Any]:
    """Return the claims of the person who came back. Raise IdentityRefused."""
    if clock.timestamp() - pending.began > PENDING_SECONDS:
        raise IdentityRefused(_("The sign-in took too long; begin again."))
    if not constant_time_compare(answer.get("state", ""), pending.state):
        raise IdentityRefused(_("This answer belongs to another sign-in; begin again."))
    if answer.get("iss", client.issuer) != client.issuer:  # RFC 9207
        raise IdentityRefused(_("The answer came from another provider than was asked."))
    if "code" not in answer:
        text = _("The provider refused: %(error)s.")
        raise IdentityRefused(text % {"error": answer.get("error", _("no reason given"))[:100]})
    token = _exchange(client, pending, callback, answer["code"])
    return verify(client, pending, token)


def _discover(client: Client) -> dict[str, Any]:
    address = f"{client.issuer.rstrip('/')}/.well-known/openid-configuration"
    document = fetch_json(client, "GET", address)
    if document.get("issuer") != client.issuer:
        text = _("The provider calls itself “%(issuer)s”, not “%(wanted)s”.")
        raise IdentityRefused(
            text % {"issuer": str(document.get("issuer"))[:200], "wanted": client.issuer}
        )
    return document


def _endpoint(client: Client, document: Mapping[str, Any], name: str) -> str:
    address = document.get(name)
    if not isinstance(address, str) or urlsplit(address).scheme not in _schemes(client):
        text = _("The provider's %(name)s is missing, or not reached over https.")
        raise IdentityRefused(text % {"name": name})
    return address


def _schemes(client: Client) -> tuple[str, ...]:
    return ("https", "http") if client.allow_private else ("https",)


def _exchange(client: Client, pending: PendingSignIn, callback: str, code: str) -> str:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback,
        "code_verifier": pending.verifier,
        "client_id": client.client_id,
    }
    headers = {}
    if client.secret is not None:
        # RFC 6749, section 2.3.1: both are encoded as form fields are before they are joined.
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret.reveal(), safe='')}"
        headers = {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    answer = fetch_json(client, "POST", pending.token_endpoint, form=form, headers=headers)
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise IdentityRefused(_("The provider sent no ID token."))
    return token


def verify(client: Client, pending: PendingSignIn, token: str) -> dict[str, Any]:
    # With its cryptography it takes 4 MB, and few gateways have an identity provider.
    import jwt  # noqa: PLC0415

    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key=_key_of(client, pending, token),
            algorithms=ALGORITHMS,
            audience=client.client_id,
            issuer=client.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.PyJWTError as error:
        text = _("The provider's ID token does not count: %(error)s.")
        raise IdentityRefused(text % {"error": error}) from error
    if not constant_time_compare(str(claims.get("nonce", "")), pending.nonce):
        raise IdentityRefused(_("The ID token was made for another sign-in."))
    if claims.get("azp", client.client_id) != client.client_id:
        raise IdentityRefused(_("The ID token was made for another client."))
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
        raise IdentityRefused(_("The ID token names nobody."))
    if pending.again and not _is_fresh(claims):
        raise IdentityRefused(_("The provider did not ask you to sign in again."))
    return claims


def _is_fresh(claims: Mapping[str, Any]) -> bool:
    """Tell whether the person signed in at the provider a short while ago, where it says when."""
    at = claims.get("auth_time", clock.timestamp())
    return isinstance(at, int | float) and clock.timestamp() - at <= FRESH_SECONDS + LEEWAY_SECONDS


def _key_of(client: Client, pending: PendingSignIn, token: str) -> Any:
    """Return the provider's key that the token says it was signed with."""
    import jwt  # noqa: PLC0415

    wanted = jwt.get_unverified_header(token).get("kid")
    keys = jwt.PyJWKSet.from_dict(fetch_json(client, "GET", pending.jwks_uri)).keys
    usable = [key for key in keys if key.public_key_use in {None, "sig"}]
    named = [key for key in usable if wanted is None or key.key_id == wanted]
    if len(named) != 1:
        raise IdentityRefused(_("The provider has no key with which the ID token was signed."))
    return named[0]


def fetch_json(
    client: Client,
    method: str,
    address: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    fetch = import_string(settings.IDENTITY_HTTP)
    try:
        body = fetch(
            method, address, allow_private=client.allow_private, form=form, headers=headers
        )
        found = orjson.loads(body)
    except OSError as error:
        text = _("The provider cannot be reached: %(error)s.")
        raise IdentityRefused(text % {"error": error}) from error
    except orjson.JSONDecodeError as error:
        raise IdentityRefused(_("The provider's answer is not JSON.")) from error
    if not isinstance(found, dict):
        raise IdentityRefused(_("The provider's answer is not an object."))
    return found


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
