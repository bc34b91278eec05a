"""Console page of credentials: a secret goes in here and is never shown again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from gateway_project.lib.secret import Secret
from routing import credentials
from routing.admin.owner import owner
from routing.managed import CREDENTIALS, MAX_SECRET, masked
from routing.models import Credential
from tenants.console.scoped_admin import TenantModelAdmin, TenantRelatedFilter
from tenants.console.scoped_forms import TenantForm
from tenants.theme import PasswordInput


class CredentialForm(TenantForm):
    secret = forms.CharField(
        label=gettext_lazy("Secret"),
        max_length=MAX_SECRET,
        widget=PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "secret" in self.fields and not self.instance._state.adding:
            self.fields["secret"].required = False
            self.fields["secret"].help_text = gettext("Leave empty to keep the current one.")

    def save(self, commit: bool = True) -> Any:
        """Seal the secret into the row, whose tenant and id are settled by now."""
        if secret := self.cleaned_data.get("secret"):
            credentials.set_secret(self.instance, Secret(secret))
        return super().save(commit)


@admin.register(Credential)
class CredentialAdmin(TenantModelAdmin):
    when_empty = gettext_lazy(
        "A credential tells a provider who asks: the platform, or a tenant that brings its own."
    )
    resource = CREDENTIALS
    proof_for = frozenset({"add", "change"})
    form = CredentialForm
    list_display = ("name", "provider", owner, "last_four_shown", "weight", "enabled", "created_at")
    list_select_related = ("tenant", "provider")
    list_filter = (
        "enabled",
        ("provider", TenantRelatedFilter),
        ("tenant", TenantRelatedFilter),
    )
    search_fields = ("name", "provider__name")
    fields = (
        "tenant", "provider", "name", "secret", "last_four_shown", "weight", "enabled", "created_at",
    )  # fmt: skip
    readonly_fields = ("last_four_shown", "created_at")
    autocomplete_fields = ("tenant", "provider")

    @admin.display(description=_("Secret stored"), ordering="last_four")
    def last_four_shown(self, credential: Credential) -> str:
        return masked(credential)

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **options: Any) -> HttpResponse:
        """Hide the secret from error reports; otherwise Django's."""
        return super().changeform_view(*args, **options)

    def _hidden_fields(self, request: HttpRequest, row: Model | None) -> Sequence[str]:
        hidden = super()._hidden_fields(request, row)
        return hidden if row is None or self.may("change", request, row) else (*hidden, "secret")
