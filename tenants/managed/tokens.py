"""State the rules for tokens of the management API."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model

from gateway_project.lib import actor
from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.access.rights import Area, Right
from tenants.access.scopes import permissions_of
from tenants.keys import api_tokens
from tenants.managed.resource import Resource, Values, register
from tenants.models import ApiToken
from tenants.sign_in import token_demands


class TokenResource(Resource):
    """Tokens, which are returned once. They are revoked in tenants/keys.

    Whoever may do less than a token cannot change it, but end it.
    """

    model = ApiToken
    named_by = ("name",)
    area = Area.TOKENS
    key = "public_id"
    fields = ("tenant", "name", "scopes", "expires_at")
    fixed = ("tenant", "scopes")

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        if not super().may(who, right, row):
            return False
        if right != "change" or not isinstance(row, ApiToken):
            return True
        return who.may_grant(permissions_of(row.scopes), row.tenant_id)

    def prepare(self, who: Access, row: ApiToken, extra: Values, *, is_new: bool) -> Secret | None:
        acting = _acting_token()
        if is_new:
            refuse_in_support()
            row.scopes = api_tokens.narrow(who, row.scopes or [], row.tenant_id)
            row.created_by_id = maker_id()
            if acting is not None:
                token_demands.inherit_proof(row, acting)
                api_tokens.descend(row, acting)
        if acting is not None and (is_new or _is_moved(row)):
            api_tokens.refuse_longer(row, acting)
        return api_tokens.give_secret(row) if is_new else None


def _is_moved(token: ApiToken) -> bool:
    """Tell whether a token's end is to be another than it is."""
    stored = ApiToken.objects.values_list("expires_at", flat=True).get(pk=token.pk)
    return token.expires_at != stored


def refuse_in_support() -> None:
    """Let nobody who acts as a tenant make a token, which would go on after their time. Raise
    ValidationError.
    """
    if actor.current().reason:
        raise ValidationError(
            "Your time as the tenant ends, and a token would not: make it as yourself."
        )


def maker_id() -> int | None:
    """Return the user by whose rights what is made now has to be measured; None on the command line."""
    now = actor.current()
    match now.kind:
        case "person":
            return int(now.id)
        case "token":
            token = _acting_token()
            return None if token is None else token.created_by_id
        case "command":
            return None
    raise PermissionDenied


def _acting_token() -> ApiToken | None:
    """Return the token that acts now; None if it is somebody else who does."""
    now = actor.current()
    return ApiToken.objects.get(public_id=now.id) if now.kind == "token" else None


TOKENS = register(TokenResource())
