"""Prove that a change knows who made it: the person at the console, the command, or the program itself."""

from __future__ import annotations

from django.core.management import call_command
from django.db.models.signals import post_save
from django.test import Client

from gateway_project.lib.actor import SYSTEM, Actor, current
from tenants.models import Tenant
from tests.console import world as worlds


def actor_of_saving(save) -> Actor:
    """Return who acts, as the database sees it, while `save` stores a tenant."""
    seen: list[Actor] = []

    def note(**_: object) -> None:
        seen.append(current())

    post_save.connect(note, sender=Tenant)
    try:
        save()
    finally:
        post_save.disconnect(note, sender=Tenant)
    return seen[-1]


def test_a_person_acts_in_the_console_from_their_address(db):
    client = worlds.operator()

    def save() -> None:
        Client.post(
            client,
            "/console/tenants/tenant/add/",
            {
                "name": "New",
                "slug": "new",
                "time_zone": "UTC",
                "status": "active",
                "retention_days": "30",
            },
            REMOTE_ADDR="192.0.2.7",
        )

    actor = actor_of_saving(save)
    assert (actor.kind, actor.name, actor.address) == ("person", "operator", "192.0.2.7")


def test_a_command_acts_in_its_own_name(db):
    actor = actor_of_saving(lambda: call_command("create_tenant", "acme"))
    assert (actor.kind, actor.id) == ("command", "create_tenant")


def test_the_program_acts_where_nobody_else_does(db):
    assert actor_of_saving(lambda: Tenant.objects.create(slug="a", name="A")) is SYSTEM
    assert current() is SYSTEM
