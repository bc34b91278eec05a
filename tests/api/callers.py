"""Ask the management API with a token, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from gateway_project.lib.secret import Secret
from tenants.access.access import OPERATOR, access_of
from tenants.keys import api_tokens
from tenants.models import ApiToken, Membership, Tenant

ROOT = "/api/v1/"


class Api:
    """Somebody with a token."""

    def __init__(self, token: ApiToken, secret: Secret) -> None:
        self.token = token
        self.client = Client(headers={"authorization": f"Bearer {secret.reveal()}"})

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer: Any = self.client.generic(
            method.upper(), ROOT + path, content, "application/json", headers=named
        )
        if answer.streaming:  # read to its end, like any other
            return HttpResponse(answer.getvalue(), None, answer.status_code, headers=answer.headers)
        return answer

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("get", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("post", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.ask("patch", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.ask("delete", path, **headers)


def of_operator(*scopes: str) -> Api:
    """An operator's token, made on the command line."""
    return Api(*api_tokens.create(OPERATOR, "operator's", list(scopes) or ["*"]))


def member(role: str, tenant: Tenant) -> User:
    user, _ = User.objects.get_or_create(username=f"{role}-staff", is_staff=True)
    Membership.objects.create(user=user, tenant=tenant, role=role)
    return user


def of_member(role: str, tenant: Tenant, *scopes: str) -> Api:
    """A token of a tenant, made by somebody with this role there."""
    user = member(role, tenant)
    made = api_tokens.create(
        access_of(user), f"{role}'s", list(scopes) or ["*"], tenant=tenant, maker_id=user.pk
    )
    return Api(*made)


@contextmanager
def undone() -> Iterator[None]:
    """Take back what is written within."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
