"""allauth's forms in the console's words."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import ChangePasswordForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django import forms
from django.utils.translation import gettext_lazy as _


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]  # allauth has no types
    """Asks for a passkey's name, and whether it may stand for the password as well."""

    passwordless = forms.BooleanField(
        label=_("Sign in with it alone, without the password"),
        required=False,
        help_text=_("The device then checks your fingerprint, your face or a PIN each time."),
    )


class OwnPasswordForm(ChangePasswordForm):  # type: ignore[misc]  # allauth has no types
    """Asks for a new password. What a box is for stands above it, not in it, too."""

    WORDS = (
        ("oldpassword", _("Password now")),
        ("password1", _("New password")),
        ("password2", _("New password again")),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in self.WORDS:
            field = self.fields[name]
            field.label = label
            field.widget.attrs.pop("placeholder", None)
