"""Serve the page behind an invitation's link: join with the account one has, or make one."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import perform_login
from allauth.account.models import Login
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from gateway_project.lib.secret import Secret
from tenants.access.addresses import address_of
from tenants.access.requests import support_session
from tenants.audit.sign_ins import count_failure
from tenants.members import invitations
from tenants.members.invitations import InvitationInvalid, invitation_refused
from tenants.models import Invitation
from tenants.sign_in import demands

TEMPLATE = "console/invitation.html"
# What such a session can do ends with the tenant it is for; an invitation is for the person.
NOT_IN_THIS_SESSION = (
    "You are signed in for one tenant only: by its identity provider, or acting as it for support. "
    "Sign out, or stop acting as it, and open the link again. The invitation was not used."
)


class SignUpForm(forms.Form):
    """Ask for what an account needs; `sign_up` says whether it is good enough."""

    username = forms.CharField(label=_("User name"), max_length=150)
    password = forms.CharField(
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}), strip=False
    )
    again = forms.CharField(
        label=_("Password again"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        strip=False,
    )

    def clean_again(self) -> str:
        again: str = self.cleaned_data["again"]
        if again != self.cleaned_data.get("password", again):
            raise ValidationError(gettext("The two passwords differ."))
        return again


@sensitive_variables("token")
@sensitive_post_parameters("password", "again")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def accept_invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show the invitation, or let its holder in."""
    try:
        return _answer(request, Secret(token))
    except InvitationInvalid as error:
        invitation_refused.send(sender=accept_invitation, request=request)
        count_failure(address_of(request), 0)
        return _page(request, status=404, refusal=error.messages[0])


def _answer(request: HttpRequest, token: Secret) -> HttpResponse:
    invitation = invitations.find(token)
    if isinstance(request.user, User):
        return _join(request, token, invitation)
    form = SignUpForm(request.POST or None)
    if form.is_valid():
        try:
            user = invitations.sign_up(
                token, form.cleaned_data["username"], Secret(form.cleaned_data["password"])
            )
        except InvitationInvalid:
            raise
        except ValidationError as error:
            _put(form, error)
        else:
            _greet(request, invitation)
            entered: HttpResponse = perform_login(request, Login(user=user))
            return entered
    sign_in = f"{reverse('admin:login')}?next={request.path}"
    return _page(request, invitation=invitation, form=form, sign_in=sign_in)


def _join(request: HttpRequest, token: Secret, invitation: Invitation) -> HttpResponse:
    if request.method != "POST":
        return _page(request, invitation=invitation)
    assert isinstance(request.user, User)
    if demands.is_bound(request) or support_session(request) is not None:
        return _page(request, invitation=invitation, refusal=NOT_IN_THIS_SESSION, status=403)
    try:
        invitations.accept_invitation(token, request.user)
    except InvitationInvalid:
        raise
    except ValidationError as error:
        return _page(request, invitation=invitation, refusal=error.messages[0])
    _greet(request, invitation)
    return HttpResponseRedirect(reverse("admin:index"))


def _put(form: SignUpForm, error: ValidationError) -> None:
    """Show each message at its field; those of fields that are not asked for above the form."""
    named = error.message_dict if hasattr(error, "error_dict") else {None: error.messages}
    for field, texts in named.items():
        form.add_error(field if field in form.fields else None, texts)


def _greet(request: HttpRequest, invitation: Invitation) -> None:
    messages.success(
        request,
        gettext("You are now %(role_name)s of %(tenant)s.")
        % {"role_name": invitation.role_name, "tenant": invitation.tenant},
    )


def _page(request: HttpRequest, *, status: int = 200, **shown: Any) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": gettext("Invitation"), **shown}
    return TemplateResponse(request, TEMPLATE, context, status=status)
