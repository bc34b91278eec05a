"""A stored secret goes to the host it was entered for, from the row it was entered into."""

from __future__ import annotations

import httpx
import pytest

from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Credential, Provider
from tests.support import rows
from tests.support.live import LiveGateway

BODY = {"model": "mine", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_secret_is_not_sent_to_a_host_it_was_not_entered_for(gateway: LiveGateway) -> None:
    provider = rows.provider("chat", "https://api.example.com/v1", secret="sk-0123456789abcdef")
    rows.alias("mine", (provider, "sandbox-1"))
    customer = rows.customer()
    provider.base_url = gateway.sandbox.base_url
    provider.save()

    answer = httpx.post(f"{gateway.base_url}/chat/completions", json=BODY, headers=customer.headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_auth_failed")
    assert not gateway.sandbox.calls


@pytest.mark.django_db
@pytest.mark.persistence
def test_a_secret_that_was_moved_to_another_row_cannot_be_opened() -> None:
    provider = rows.provider("chat", "https://api.example.com/v1")
    mine = credentials.create(provider, Secret("sk-mine"), tenant=rows.customer("a").tenant)
    theirs = credentials.create(provider, Secret("sk-theirs"), tenant=rows.customer("b").tenant)
    Credential.objects.filter(pk=mine.pk).update(sealed_secret=theirs.sealed_secret)
    mine.refresh_from_db()

    with pytest.raises(SealError):
        credentials.reveal(mine)


@pytest.mark.django_db
@pytest.mark.persistence
def test_a_path_below_the_same_host_may_change() -> None:
    provider = rows.provider("chat", "https://api.example.com/v1")
    credential = credentials.create(provider, Secret("sk-mine"))
    Provider.objects.filter(pk=provider.pk).update(base_url="https://api.example.com/openai/v1")

    assert credentials.reveal(Credential.objects.get(pk=credential.pk)) == Secret("sk-mine")
