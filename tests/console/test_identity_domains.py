"""A mail domain is confirmed by a record in its DNS: on its page, by token and by command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from tenants.models import IdentityDomain
from tests.api.callers import of_member
from tests.commands.running import answer, refusal
from tests.console import world as worlds
from tests.console.pages import url
from tests.console.world import World
from tests.support.name_server import NameServer, name_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[NameServer]:
    with name_server(monkeypatch, tmp_path) as found:
        yield found


@pytest.fixture
def domain(world: World) -> IdentityDomain:
    return IdentityDomain.objects.create(provider=world.ours.identity, domain="acme.example")


def is_known(domain: str) -> bool:
    cache.clear()
    form = {"email": f"ada@{domain}"}
    return Client().post(reverse("find_provider"), form).status_code == 200


def test_an_owner_confirms_a_domain_by_its_record(
    world: World, domain: IdentityDomain, server: NameServer
):
    owner = of_member("owner", world.ours.tenant)
    place = f"identity-domains/{domain.pk}"
    shown = owner.get(place).json()
    name, text = shown["record_name"], shown["record_text"]

    for found in ([], ["tollgate-domain="], [text[:-1]], [f"{text}0"], ["v=spf1 -all"]):
        server.texts[name] = found
        missing = owner.post(f"{place}/confirm")
        assert (missing.status_code, missing.json()["code"]) == (409, "conflict")
        assert text in missing.json()["detail"]
    assert not is_known("acme.example")
    server.texts[name] = ["v=spf1 -all", text]
    for _ in range(2):
        assert owner.post(f"{place}/confirm").json()["confirmed"] is True
    assert server.asked[-1] == name == "_tollgate.acme.example"
    assert is_known("acme.example")


def test_nobody_else_confirms_it_and_no_other_record_does(
    world: World, domain: IdentityDomain, server: NameServer
):
    admin, stranger = of_member("admin", world.ours.tenant), of_member("owner", world.theirs.tenant)
    theirs = IdentityDomain.objects.create(provider=world.theirs.identity, domain=domain.domain)
    shown = stranger.get(f"identity-domains/{theirs.pk}").json()
    server.texts[shown["record_name"]] = [shown["record_text"]]

    assert admin.post(f"identity-domains/{domain.pk}/confirm").status_code == 403
    assert stranger.post(f"identity-domains/{domain.pk}/confirm").status_code == 404
    ours = of_member("owner", world.ours.tenant)
    assert ours.post(f"identity-domains/{domain.pk}/confirm").status_code == 409  # it is theirs
    assert stranger.post(f"identity-domains/{theirs.pk}/confirm").status_code == 200
    mine = ours.get(f"identity-domains/{domain.pk}").json()
    server.texts[shown["record_name"]].append(mine["record_text"])
    second = ours.post(f"identity-domains/{domain.pk}/confirm")
    assert second.status_code == 409
    assert "an operator has to settle" in second.json()["detail"]
    assert not IdentityDomain.objects.get(pk=domain.pk).confirmed


def test_the_page_shows_the_record_and_has_a_button(
    world: World, domain: IdentityDomain, server: NameServer
):
    owner, admin = (worlds.staff(role, world.ours.tenant) for role in ("owner", "admin"))
    page = owner.get(url(world.ours.identity, "change")).content.decode()
    text = f"tollgate-domain={page.partition('tollgate-domain=')[2][:32]}"
    do = reverse(
        "admin:tenants_identityprovider_do", args=(world.ours.identity.pk, "confirm_domains")
    )

    assert "_tollgate.acme.example" in page
    assert do in page
    assert admin.post(do).status_code == 403
    told = owner.post(do, follow=True).content.decode()
    assert "has no TXT record" in told
    server.texts["_tollgate.acme.example"] = [text]
    told = owner.post(do, follow=True).content.decode()
    assert "Confirmed: acme.example." in told
    assert do not in told
    assert IdentityDomain.objects.get(pk=domain.pk).confirmed


def test_an_operator_confirms_by_command_with_or_without_a_record(
    world: World, domain: IdentityDomain, server: NameServer
):
    asked = ("confirm_domain", "acme.example", "--tenant", "ours")
    assert "has no TXT record" in refusal(*asked, "--dns")
    assert "add it to the provider first" in refusal(
        "confirm_domain", "b.example", "--tenant", "ours"
    )

    told = answer(*asked)

    assert (told["domain"], told["confirmed"]) == ("acme.example", True)
    assert is_known("acme.example")
