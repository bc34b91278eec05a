"""The management API guards prompts and answers, and who answered, no less than the console's pages do."""

from __future__ import annotations

import pytest

from responses_api.models import ConversationItem
from routing.models import Target
from tenants.access.access import OPERATOR
from tenants.keys import api_tokens
from tenants.models import AuditEvent, Invoice, Tenant
from tests.api.callers import Api, of_member
from tests.console.world import World

pytestmark = pytest.mark.django_db


def test_whoever_reads_or_deletes_what_was_said_is_in_the_audit_log(world: World):
    owner = of_member("owner", world.ours.tenant)
    for kind, path, row in (
        ("response", "responses", world.ours.response),
        ("conversation", "conversations", world.ours.conversation),
    ):
        place = f"{path}/{row.pk}"
        assert owner.get(path).status_code == 200  # a list shows nothing of it
        assert owner.get(place).status_code == 200
        assert owner.get(f"{place}/items").status_code == 200
        assert owner.delete(place).status_code == 204
        assert owner.get(f"{place}/items").status_code == 404

        told = AuditEvent.objects.filter(object_id=row.pk).order_by("id")
        assert list(told.values_list("action", "actor_kind", "actor_id", "tenant")) == [
            (f"{kind}.{verb}", "token", owner.token.public_id, world.ours.tenant.pk)
            for verb in ("read", "read", "deleted")
        ]


def test_whoever_is_shown_a_secret_or_takes_an_invoice_is_in_the_audit_log(world: World):
    ours, owner = world.ours, of_member("owner", world.ours.tenant)
    invoice = Invoice.objects.get(tenant=ours.tenant, state="finalized")
    key = owner.post("keys", {"name": "new"}).json()["id"]

    assert owner.post(f"keys/{key}/rotate").status_code == 200
    assert owner.post(f"webhooks/{ours.endpoint.pk}/rotate").status_code == 200
    for kind in ("pdf", "html"):
        assert owner.get(f"invoices/{invoice.pk}/{kind}").status_code == 200

    told = AuditEvent.objects.filter(actor_id=owner.token.public_id).order_by("id")
    wanted = ("secret_shown", "exported")
    shown = [each.action for each in told if each.action.rpartition(".")[2] in wanted]
    assert shown == [
        "api_key.secret_shown",
        "api_key.secret_shown",
        "webhook_endpoint.secret_shown",
        "invoice.exported",
        "invoice.exported",
    ]


def test_tokens_of_a_tenant_that_is_shown_aliases_only_show_no_more(world: World):
    tenant = world.ours.tenant
    world.ours.response.provider = "ours-provider"
    world.ours.response.save()
    ConversationItem.objects.filter(conversation=world.ours.conversation).update(
        provider="ours-provider"
    )
    made = api_tokens.create(OPERATOR, "by an operator", ["*.view"], tenant=tenant)
    tokens = (of_member("owner", tenant), Api(*made))
    # As tenants' aliases could lead long ago.
    legacy = Target.objects.create(
        alias=world.ours.alias, provider_model=world.platform.model, position=5
    )
    of_legacy = ("configuration", f"targets/{legacy.pk}", "audit?object_type=target")
    kept, said = (
        f"responses/{world.ours.response.pk}",
        f"conversations/{world.ours.conversation.pk}",
    )
    listed = ("providers", "models", "responses", "usage/calls", "usage/hours", "usage/days")
    grouped = [f"usage?tenant={tenant.pk}&group_by={by}" for by in ("provider", "model")]

    def shown(api: Api, path: str) -> str:
        return str(api.get(path).content.decode())

    for api in tokens:
        assert "plat-provider" in shown(api, "providers")
        assert "plat-model" in shown(api, "configuration")
        assert api.get(f"targets/{legacy.pk}").status_code == 200
        assert f'"{legacy.pk}"' in shown(api, "audit?object_type=target")
        assert "ours-provider" in shown(api, kept)
        assert "ours-provider" in shown(api, f"{said}/items")
        assert [api.get(path).status_code for path in grouped] == [200, 200]

    Tenant.objects.filter(pk=tenant.pk).update(shows_upstreams=False)

    for api in tokens:
        assert api.get(f"providers/{world.platform.provider.pk}").status_code == 404
        for path in listed[:2]:
            assert "plat-" not in shown(api, path)
        for path in (*listed[2:], kept, f"{said}/items"):
            assert api.get(path).status_code == 200
            assert "ours-provider" not in shown(api, path), path
        assert [api.get(path).status_code for path in grouped] == [403, 403]
        assert "ours-model" in shown(api, "configuration")
        assert [api.get(path).status_code for path in of_legacy] == [200, 404, 200]
        for path in of_legacy:
            assert "plat-" not in shown(api, path), path
        assert '"target"' not in shown(api, "audit?object_type=target")
