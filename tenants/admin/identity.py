"""The pages of identity providers: a tenant's owners keep theirs, operators the platform's and who is who."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from gateway_project.lib.secret import Secret
from tenants.access.rights import ROLES, Area
from tenants.console.actions import console_action
from tenants.console.operator_admin import OperatorModelAdmin
from tenants.console.parts_field import Parts, PartsField, as_they_are
from tenants.console.scoped_admin import (
    TenantInline,
    TenantModelAdmin,
    TenantRelatedFilter,
    access,
)
from tenants.console.scoped_forms import TenantForm
from tenants.members import console_address
from tenants.models import ExternalIdentity, IdentityDomain, IdentityProvider, Membership
from tenants.sign_in import domains, identities
from tenants.theme import LinesField, PasswordInput

Role = Membership.Role
MOST_ASKED = 5  # each may take some seconds, for which the person waits


class GroupRolesField(PartsField):
    """The role that each group of an identity provider gives: its groups below each role."""

    def __init__(self) -> None:
        parts = {
            value: LinesField(label=label, rows=2, help_text="") for value, label in Role.choices
        }
        super().__init__(
            parts,
            read=_role_of_each,
            show=_groups_of_each,
            label=_("Roles of groups"),
            folded=_("No group gives a role"),
            help_text=_("The groups that give each role, one a line, as the provider writes them."),
        )


def _role_of_each(groups: Parts) -> dict[str, str]:
    roles: dict[str, str] = {}
    for role, names in groups.items():
        for name in names:
            if roles.setdefault(name, role) != role:
                message = gettext("The group %(name)s is given two roles.")
                raise ValidationError(message % {"name": repr(name)})
    return roles


def _groups_of_each(stored: Any) -> Parts:
    groups: Parts = {}
    for name, role in as_they_are(stored).items():
        groups.setdefault(str(role), []).append(name)
    return groups


class IdentityProviderForm(TenantForm):
    group_roles = GroupRolesField()
    secret = forms.CharField(
        label=_("Client secret"),
        max_length=10_000,
        required=False,
        widget=PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Stored sealed, never shown. Empty: the present one stays."),
    )
    may_grant: Any = None  # the page sets it: whether the person may give away a role in a tenant

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        role = cleaned.get("maximum_role")
        tenant = cleaned.get("tenant") or self.instance.tenant
        if role and tenant is not None and not self.may_grant(ROLES[role], tenant.pk):
            raise ValidationError(
                {"maximum_role": gettext("You may not give away more than you may do yourself.")}
            )
        return cleaned

    def save(self, commit: bool = True) -> Any:
        """Seal the secret into the row, whose tenant, id and issuer are settled by now."""
        if secret := self.cleaned_data.get("secret"):
            identities.set_secret(self.instance, Secret(secret))
        return super().save(commit)


class DomainInline(TenantInline):
    """Mail domains; only operators can say that one is the tenant's. An owner's are added and removed:
    to change one would keep its confirmation.
    """

    model = IdentityDomain
    hide_title = True
    area = Area.SIGN_IN
    fields = ("domain", "confirmed", "record")

    @admin.display(description=_("TXT record that confirms it"))
    def record(self, domain: IdentityDomain) -> str:
        """Show what to write into the domain's DNS, once the row is there."""
        if domain.pk is None:
            return ""
        return f"{domains.record_name(domain)} {domains.record_text(domain)}"

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["record"] if access(request).is_operator else ["confirmed", "record"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return access(request).is_operator


@admin.register(IdentityProvider)
class IdentityProviderAdmin(TenantModelAdmin):
    when_empty = _(
        "A tenant's people can sign in through an identity provider of its own (OpenID Connect)."
    )
    area = Area.SIGN_IN
    proof_for = frozenset({"add", "change", "delete", "delete_selected"})
    form = IdentityProviderForm
    # The secret is sealed for them, and people are who they are at this issuer.
    fixed_fields = ("tenant", "issuer")
    operator_fields = ("allow_private_network",)
    list_display = ("name", "tenant", "issuer", "enabled", "created_at")
    list_select_related = ("tenant",)
    list_filter = ("enabled", ("tenant", TenantRelatedFilter))
    search_fields = ("name", "issuer", "tenant__name")
    fields = (
        "tenant",
        "name",
        "issuer",
        "client_id",
        "secret",
        "last_four_shown",
        "callback",
        "enabled",
        "allow_private_network",
        "creates_members",
        "group_claim",
        "group_roles",
        "default_role",
        "maximum_role",
        "created_at",
    )
    readonly_fields = ("last_four_shown", "callback", "created_at")
    autocomplete_fields = ("tenant",)
    inlines: ClassVar[tuple[type[TenantInline], ...]] = (DomainInline,)

    @admin.display(description=_("Secret stored"))
    def last_four_shown(self, provider: IdentityProvider) -> str:
        return f"••••{provider.last_four}" if provider.sealed_secret else "none"

    @admin.display(description=_("Redirect address"))
    def callback(self, provider: IdentityProvider) -> str:
        """Show what to register with the provider: after the console's own address, where that is not set."""
        origin = console_address.of() if settings.PUBLIC_URL else ""
        return origin + reverse("identity_callback", args=(provider.pk,))

    @console_action(
        _("Confirm domains by DNS"),
        right="change",
        is_proven=True,
        shown_for=lambda row: row.domains.filter(confirmed=False).exists(),
    )
    def confirm_domains(self, request: HttpRequest, row: IdentityProvider) -> str:
        """Look the record of each domain up that nobody has confirmed yet."""
        confirmed, missing = [], []
        for domain in row.domains.filter(confirmed=False).select_related("provider")[:MOST_ASKED]:
            try:
                domains.confirm_by_dns(access(request), domain)
            except ValidationError as error:
                missing += error.messages
            else:
                confirmed.append(domain.domain)
        if missing:
            raise ValidationError(missing)
        return gettext("Confirmed: %(domains)s.") % {"domains": ", ".join(confirmed)}

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.may_grant = staticmethod(access(request).may_grant)  # type: ignore[attr-defined]
        return form

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **options: Any) -> HttpResponse:
        """Hide the secret from error reports; otherwise Django's."""
        return super().changeform_view(*args, **options)

    def _hidden_fields(self, request: HttpRequest, row: Model | None) -> Sequence[str]:
        hidden = super()._hidden_fields(request, row)
        return hidden if row is None or self.may("change", request, row) else (*hidden, "secret")


@admin.register(ExternalIdentity)
class ExternalIdentityAdmin(OperatorModelAdmin):
    """The page of who is who at identity providers. An operator lets somebody in by adding them here."""

    when_empty = _("One is made when somebody signs in through an identity provider.")
    proof_for = frozenset({"add", "change", "delete", "delete_selected"})
    list_display = ("shown_as", "subject", "issuer", "user", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("subject", "shown_as", "user__username")
    fields = ("issuer", "subject", "user", "shown_as", "created_at", "last_used_at")
    readonly_fields = ("shown_as", "created_at", "last_used_at")
    autocomplete_fields = ("user",)
