"""Lead people to an identity provider and take them in when they come back."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from allauth.account.internal.flows.login import perform_login
from allauth.account.models import Login
from allauth.account.utils import get_next_redirect_url
from allauth.core.internal import ratelimit
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from gateway_project.lib import clock
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from tenants.models import IdentityDomain, IdentityProvider
from tenants.sign_in import identities, oidc, origin, sessions
from tenants.sign_in.oidc import IdentityRefused, PendingSignIn

PENDING = "tollgate.identity"
# Else a link could put somebody into an account of its writer's, who then enters their secrets there.
SIGN_OUT_FIRST = gettext_lazy("You are signed in as “%(name)s” in another way. Sign out first.")
View = Callable[..., HttpResponse]


def _limited(view: View) -> View:
    """Limit how often an address may ask: each time we ask a provider, and keep a session."""
    limited: View = ratelimit.decorator(app="allauth.account", action="login", limit_get=True)(view)
    return limited


@never_cache
@require_POST
@_limited
def find_provider(request: HttpRequest) -> HttpResponse:
    """Lead somebody to the provider of their mail address's domain, if that is confirmed."""
    domain = request.POST.get("email", "").rpartition("@")[2].strip().lower()
    rows = IdentityDomain.objects.filter(domain=domain, confirmed=True, provider__enabled=True)
    found = rows.first()
    if found is None:
        text = _("No identity provider is known for “%(domain)s”.")
        return _refuse(request, text % {"domain": domain[:100]}, status=404)
    # A page with a link: the policy lets forms lead to this console only, redirects included.
    shown = {
        "title": _("Sign in"),
        "provider": found.provider,
        "next": get_next_redirect_url(request),
    }
    return render(request, "sign_in/provider.html", shown)


@never_cache
@require_GET
@_limited
def leave(request: HttpRequest, provider_id: UUID) -> HttpResponse:
    """Lead the browser to the provider."""
    provider = _provider(provider_id)
    target = get_next_redirect_url(request) or ""
    if (
        request.headers.get("sec-fetch-site") == "cross-site"
    ):  # another site's link: let them decide
        return render(request, "sign_in/provider.html", {"provider": provider, "next": target})
    try:
        pending, address = oidc.begin(
            identities.client_of(provider),
            str(provider.pk),
            _callback(request, provider),
            target=target,
            again=request.user.is_authenticated,
        )
    except (IdentityRefused, SealError, KeyringError) as error:
        return _refuse(request, str(error))
    request.session[PENDING] = pending.as_json()
    return redirect(address)


@never_cache
@require_GET
@_limited
def come_back(request: HttpRequest, provider_id: UUID) -> HttpResponse:
    """Sign in whom the provider sent, or refuse with its reason."""
    provider = _provider(provider_id)
    waiting = request.session.pop(PENDING, None)
    if waiting is None or waiting["provider"] != str(provider.pk):
        return _refuse(request, _("No sign-in is under way in this browser; begin again."))
    try:
        pending = PendingSignIn(**waiting)
        if pending.issuer != provider.issuer:
            raise IdentityRefused(_("The provider was changed meanwhile; begin again."))
        claims = oidc.complete(
            identities.client_of(provider),
            pending,
            _callback(request, provider),
            request.GET.dict(),
        )
        user = identities.enter(provider, claims)
    except (IdentityRefused, SealError, KeyringError) as error:
        return _refuse(request, str(error))
    return _take_in(request, provider, user, pending)


def _take_in(
    request: HttpRequest, provider: IdentityProvider, user: User, pending: PendingSignIn
) -> HttpResponse:
    if request.user.is_authenticated:
        came = origin.of(request.session)
        if request.user.pk == user.pk and came and came.provider == provider.pk:
            request.session[sessions.PROVEN] = clock.timestamp()
            return redirect(pending.target or "admin:index")
        return _refuse(request, SIGN_OUT_FIRST % {"name": request.user.get_username()})
    origin.mark(request.session, provider, user.pk)
    response: HttpResponse = perform_login(
        request, Login(user=user, redirect_url=pending.target or None)
    )
    return response


def _provider(provider_id: UUID) -> IdentityProvider:
    found = IdentityProvider.objects.filter(pk=provider_id, enabled=True)
    provider = found.select_related("tenant").first()
    if provider is None:
        raise Http404
    return provider


def _callback(request: HttpRequest, provider: IdentityProvider) -> str:
    return request.build_absolute_uri(reverse("identity_callback", args=(provider.pk,)))


def _refuse(request: HttpRequest, reason: str, status: int = 403) -> HttpResponse:
    shown = {"title": _("Not signed in"), "reason": reason}
    return render(request, "sign_in/refused.html", shown, status=status)
