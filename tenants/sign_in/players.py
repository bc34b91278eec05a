"""Let a person call with one of their keys from the console's playground, without the key's secret.

Who may change a key could give it a new secret, and so may play with it. What the key may, its limits,
budgets and networks hold as for any other call.
"""

from __future__ import annotations

from dataclasses import replace

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest

from gateway_project.lib.secret import Secret
from tenants.access.access import Access
from tenants.access.requests import access
from tenants.access.rights import Area
from tenants.audit import events
from tenants.keys import caller, play_tokens
from tenants.keys.caller import Caller
from tenants.keys.play_tokens import PlayToken
from tenants.models import ApiKey
from tenants.sign_in import by_session, sessions

MAX_NAME = 150
READ = "read"


def may_play(who: Access, key: ApiKey) -> bool:
    return who.may("change", Area.KEYS, key.tenant_id)


def sign_for(request: HttpRequest, key: ApiKey) -> tuple[Secret, int]:
    """Return a token for the person of this request, and the second at which it ends; it is told in the
    audit log. Raise PermissionDenied.
    """
    if not may_play(access(request), key) or request.user.pk is None:
        raise PermissionDenied
    with transaction.atomic():
        events.record("playground.opened", tenant_id=key.tenant_id, row=key)
    return play_tokens.sign(key.public_id, request.user.pk, sessions.current_id(request))


def find(token: PlayToken) -> Caller | None:
    """Return the caller of a token that is signed and in time; None if its session has ended, its person may
    not change the key any more, or the key may not be used.
    """
    request = by_session.request_of(token.session_id)
    if request is None or request.user.pk != token.user_id:
        return None
    key = ApiKey.objects.filter(public_id=token.key_public_id).first()
    if key is None or not may_play(access(request), key):
        return None
    found = caller.find_by_id(key.tenant_id, key.public_id)
    if found is None:
        return None
    ends = [float(token.expires_at)] + ([found.expires_at] if found.expires_at is not None else [])
    name = request.user.get_username()[:MAX_NAME]
    scopes = found.scopes
    if not access(request).may("view", Area.RESPONSES, key.tenant_id):
        scopes -= {READ}  # nor do they continue what others have said
    return replace(found, expires_at=min(ends), end_user=f"console:{name}", scopes=scopes)
