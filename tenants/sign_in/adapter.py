"""Fit django-allauth's accounts to the console: who may come in, how fast, and where they go."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.internal import ratelimit
from django.contrib.auth.models import AbstractBaseUser
from django.core.mail import EmailMessage
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext_lazy

from tenants.access.addresses import address_of
from tenants.sign_in import origin, second_factor, sessions, slowdown

PER_ADDRESS = {"login_failed": "10/m/ip"}
# Whoever shares an address with somebody who guesses is not kept out of an account they were in before.
PER_BROWSER = {"login_failed": "10/m/key"}


class ConsoleAccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """The rules of the console's accounts."""

    error_messages = {  # noqa: RUF012  # allauth's own
        **DefaultAccountAdapter.error_messages,
        "too_many_login_attempts": gettext_lazy(
            "Too many attempts were made just now. Wait a minute, then try again."
        ),
        "username_password_mismatch": gettext_lazy("The user name or the password is not correct."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Keep sign-up closed: accounts are made by invitations, commands and identity providers."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address as trusted proxies tell it; anybody can write X-Forwarded-For."""
        return address_of(request) or "0.0.0.0"  # noqa: S104  # a Unix socket has no address

    def is_safe_url(self, url: str) -> bool:
        """Lead back to this console only, whatever other hosts the gateway answers to."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def is_reauthentication_required(self, *, app: str = "") -> bool:
        """Count a sign-in as a confirmation: whoever just came in is not asked once more."""
        return not sessions.is_proven(self.request)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Offer what the session began with; a tenant's provider is the only way for those it sent."""
        came = origin.of(self.request.session)
        if came is None:
            return list(super().get_reauthentication_methods(user))
        again = {
            "id": "identity_provider",
            "description": gettext_lazy("Sign in again at your identity provider"),
            "url": reverse("identity_login", args=(came.provider,)),
        }
        own = [] if came.tenant is not None else super().get_reauthentication_methods(user)
        return [*own, again]

    def send_password_reset_mail(
        self, user: AbstractBaseUser, email: str, context: dict[str, Any]
    ) -> None:
        """Give nobody a password who came without one: it would outlive their identity provider's word."""
        if user.has_usable_password():
            super().send_password_reset_mail(user, email, context)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Slow down guesses, by address and by account. Unlike allauth's, no limit locks an account."""
        username = str(credentials.get("username", ""))
        is_known = slowdown.is_known(request, username)
        self._login_failed_rl_usage = ratelimit.consume(
            request,
            app="allauth.account",
            action="login_failed",
            config=PER_BROWSER if is_known else PER_ADDRESS,
            key=f"known:{username}",
        )
        if not self._login_failed_rl_usage:
            raise self.validation_error("too_many_login_attempts")
        # Who confirms that it is them has a limit of their own.
        if is_known or request.user.is_authenticated:
            return
        try:
            slowdown.take_turn(username)
        except slowdown.TooManyAtOnce:
            raise self.validation_error("too_many_login_attempts") from None

    def post_login(self, request: HttpRequest, user: AbstractBaseUser, **hook: Any) -> HttpResponse:
        """Lead whoever has no second factor, and should have one, past the page that offers it."""
        response: HttpResponse = super().post_login(request, user, **hook)
        target = response.get("Location", "")
        if second_factor.should_offer(request, user):
            target = f"{reverse('second_factor')}?{urlencode({'next': target})}"
            response = HttpResponseRedirect(target)
        slowdown.remember_browser(request, response, user.get_username())
        return response

    def get_logout_redirect_url(self, request: HttpRequest) -> str:
        return resolve_url("account_login")

    def format_email_subject(self, subject: str) -> str:
        return f"[Tollgate] {subject}"

    def render_mail(self, *args: Any, **options: Any) -> EmailMessage:
        """Write plain text; no mail of ours needs a browser to be read."""
        message: EmailMessage = super().render_mail(*args, **options)
        if hasattr(message, "alternatives"):
            message.alternatives = []
        return message

    def add_message(self, request: HttpRequest, *args: Any, **options: Any) -> None:
        """Leave out "successfully signed in as …": the page that follows says so."""
        template = args[1] if len(args) > 1 else options.get("message_template")
        if template not in {"account/messages/logged_in.txt", "account/messages/logged_out.txt"}:
            super().add_message(request, *args, **options)
