"""The console's own pages about signing in; allauth brings the others."""

from __future__ import annotations

from allauth.account.utils import get_next_redirect_url
from allauth.account.views import password_change
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from tenants.access.access import access_of
from tenants.models import IdentityProvider
from tenants.sign_in import demands, second_factor, sessions


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def offer_second_factor(request: HttpRequest) -> HttpResponse:
    """Offer a second factor, or demand it where a tenant does; a POST says 'later'."""
    target = get_next_redirect_url(request) or resolve_url("admin:index")
    access = access_of(request.user)
    closed = demands.closed_tenants(access, request)
    may_wait = access.is_operator or access.tenants > closed.tenants
    if request.method == "POST" and may_wait:
        response = HttpResponseRedirect(target)
        second_factor.say_later(request, response)
        return response
    shown = {
        "title": _("A second factor"),
        "closed": sorted(closed.second_factor.values()),
        "providers": IdentityProvider.objects.filter(tenant__in=closed.provider, enabled=True),
        "by_provider": sorted(closed.provider.values()),
        "may_wait": may_wait,
        "next": target,
        "why_no_passkeys": second_factor.why_no_passkeys(request),
    }
    return render(request, "sign_in/second_factor.html", shown)


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def list_sessions(request: HttpRequest) -> HttpResponse:
    """List the person's sessions; a POST ends one, or all others."""
    if request.method == "POST":
        messages.info(request, _end(request))
        return redirect("console_sessions")
    shown = {
        "title": _("Your sessions"),
        "sessions": sessions.of(request.user),  # type: ignore[arg-type]  # is signed in
        "current": sessions.current_id(request),
    }
    return render(request, "sign_in/sessions.html", shown)


@login_required
def change_password(request: HttpRequest) -> HttpResponse:
    """Change the password of whoever has one.

    Who came by an identity provider gets none: it would outlive what the provider says of them.
    """
    assert isinstance(request.user, AbstractBaseUser)
    if not request.user.has_usable_password():
        messages.info(request, _("You sign in without a password."))
        return redirect("mfa_index")
    response: HttpResponse = password_change(request)
    return response


@never_cache
@login_required
def tell_no_access(request: HttpRequest) -> HttpResponse:
    """Tell somebody who is signed in that nothing here is theirs to see."""
    return render(request, "sign_in/no_access.html", {"title": _("No access")}, status=403)


def _end(request: HttpRequest) -> str:
    chosen = request.POST.get("session", "")
    if chosen == "others":
        count = sessions.end_others(request.user, request)  # type: ignore[arg-type]  # is signed in
        told = ngettext("The other session was ended.", "%(count)s other sessions ended.", count)
        return told % {"count": count}
    if sessions.end(request.user, chosen):  # type: ignore[arg-type]  # as above
        return _("The session was ended.")
    return _("That session has ended already.")
