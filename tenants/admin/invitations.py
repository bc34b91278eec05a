"""The pages of invitations: made, sent again and revoked here, each link shown once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext as _

from gateway_project.lib.secret import Secret
from tenants.access.rights import Right
from tenants.admin import confirming
from tenants.admin.people import PEOPLE, GrantingAdmin
from tenants.console.actions import console_action
from tenants.console.scoped_admin import TenantRelatedFilter, access
from tenants.console.scoped_forms import TenantForm
from tenants.console.shown_once import ShownOnce, show_once
from tenants.members import console_address, invitations
from tenants.members.mail import send_invitation
from tenants.models import INVITED_FOR, Invitation

# The page with the link takes the place of where these buttons would lead.
ADD_BUTTONS = {"show_save_and_add_another": False, "show_save_and_continue": False}
Issued = tuple[Invitation, Secret]
State = Invitation.State
KINDS = {State.OPEN: "warn", State.USED: "good", State.REVOKED: "bad", State.EXPIRED: "idle"}


def is_over(invitation: Invitation) -> bool:
    return invitation.state in {State.USED, State.REVOKED}


class InvitationForm(TenantForm):
    days = forms.IntegerField(
        label=gettext_lazy("Days"),
        min_value=1,
        max_value=invitations.LONGEST.days,
        initial=INVITED_FOR.days,
        help_text=gettext_lazy("How long the link works."),
    )


@admin.register(Invitation)
class InvitationAdmin(GrantingAdmin):
    when_empty = gettext_lazy(
        "An invitation is a link that works once, and makes who opens it a member."
    )
    form = InvitationForm
    proof_for = PEOPLE | {"resend"}  # which shows a new link
    rights: frozenset[Right] = frozenset({"view", "add", "delete"})
    list_display = ("__str__", "tenant", "state_shown", "expires_at", "created_at", "maker")
    list_select_related = ("tenant", "custom_role", "created_by", "used_by")
    list_filter = (("tenant", TenantRelatedFilter),)
    search_fields = ("email", "tenant__name")
    fields = (
        "tenant",
        "email",
        "role",
        "custom_role",
        "days",
        "state_shown",
        "expires_at",
        "created_at",
        "maker",
        "used_at",
        "joined",
        "revoked_at",
    )
    readonly_fields = (
        "state_shown",
        "expires_at",
        "created_at",
        "maker",
        "used_at",
        "joined",
        "revoked_at",
    )
    autocomplete_fields = ("tenant",)
    actions = ("resend", "revoke")

    @admin.display(description=gettext_lazy("Status"))
    def state_shown(self, invitation: Invitation) -> SafeString:
        kind, label = KINDS[invitation.state], invitation.state.label
        return format_html('<span class="tg-badge tg-badge--{}">{}</span>', kind, label)

    @admin.display(description=gettext_lazy("Invited by"))
    def maker(self, invitation: Invitation) -> str:
        if invitation.by_command:
            return gettext("a command")
        person = "manage.py" if invitation.created_by is None else str(invitation.created_by)
        return f"{person} ({invitation.made_by})" if invitation.made_by else person

    @admin.display(description=gettext_lazy("Accepted by"))
    def joined(self, invitation: Invitation) -> str:
        return str(invitation.used_by or "")

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        return right in self.rights and super().may(right, request, row)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Keep what was invited: an invitation is revoked, not deleted."""
        return False

    @console_action(
        gettext_lazy("Send again"),
        right="add",
        asks=gettext_lazy(
            "It gets a new link, shown once on the next page, and seven more days. The link it had opens "
            "nothing from then on."
        ),
        is_proven=True,
        shown_for=lambda invitation: not is_over(invitation),
    )
    def send_again(self, request: HttpRequest, row: Invitation) -> HttpResponse:
        return self._links_page(request, self._resent(request, [row]))

    @console_action(
        gettext_lazy("Revoke"),
        right="delete",
        asks=gettext_lazy("Its link opens nothing any more."),
        is_harmful=True,
        shown_for=lambda invitation: not is_over(invitation),
    )
    @transaction.atomic
    def withdraw(self, request: HttpRequest, row: Invitation) -> str:
        invitations.revoke(access(request), row)
        self.log_change(request, row, "Revoked.")
        return _("The link of the invitation opens nothing.")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = super().get_fields(request, obj)
        return fields if obj is None else [name for name in fields if name != "days"]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send the e-mail once all is stored: a mail server that is slow holds up no transaction."""
        response = super().add_view(request, form_url, {**(extra_context or {}), **ADD_BUTTONS})
        issued: Issued | None = getattr(request, "issued_invitation", None)
        return response if issued is None else self._links_page(request, [issued])

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        issued = invitations.invite(
            access(request),
            obj.tenant,
            obj.custom_role or obj.role,
            created_by=request.user,  # type: ignore[arg-type]  # somebody who is signed in
            email=obj.email,
            valid_for=timedelta(days=form.cleaned_data["days"]),
        )
        obj.pk, obj._state.adding = issued[0].pk, False
        request.issued_invitation = issued  # type: ignore[attr-defined]  # for `add_view`

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return access(request).may_somewhere("add", self.area)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return access(request).may_somewhere("delete", self.area)

    @admin.action(
        permissions=["resend"], description=gettext_lazy("Send again: a new link; the old one ends")
    )
    def resend(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> HttpResponse | None:
        chosen = list(queryset)
        if not confirming.is_confirmed(request):
            template = "admin/tenants/invitation/resend.html"
            return confirming.ask(
                self, request, template, chosen, title=_("Send invitations again")
            )
        return self._links_page(request, self._resent(request, chosen))

    @admin.action(permissions=["revoke"], description=gettext_lazy("Revoke"))
    @transaction.atomic
    def revoke(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        for invitation in list(queryset):
            invitations.revoke(access(request), invitation)
            self.log_change(request, invitation, "Revoked.")
        self.message_user(request, _("The links of the chosen invitations open nothing."))

    @transaction.atomic
    def _resent(self, request: HttpRequest, chosen: Iterable[Invitation]) -> list[Issued]:
        who: Any = request.user
        issued = [invitations.resend(access(request), each, created_by=who) for each in chosen]
        for invitation, _token in issued:
            self.log_change(request, invitation, "Sent again.")
        return issued

    def _links_page(self, request: HttpRequest, issued: list[Issued]) -> HttpResponse:
        shown = []
        for invitation, token in issued:
            path = reverse("accept_invitation", args=(token.reveal(),))
            link = console_address.beside(request) + path
            shown.append(ShownOnce(invitation, link, str(send_invitation(invitation, link))))
        return show_once(
            self,
            request,
            shown,
            title=_("Copy the link now"),
            kind=_("Link"),
            warning=_(
                "Whoever has a link can use it, once. It is not shown again: do not reload this page."
            ),
            note_title=_("E-mail"),
        )
