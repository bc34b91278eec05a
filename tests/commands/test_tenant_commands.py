"""create_tenant."""

from __future__ import annotations

import pytest

from tenants.models import Tenant
from tests.commands.running import answer, refusal, text

pytestmark = pytest.mark.django_db


def test_create_tenant_makes_a_slug_from_the_name() -> None:
    made = answer("create_tenant", "Acme Corp", "--time-zone", "Europe/Berlin")
    tenant = Tenant.objects.get()
    assert made == {
        "id": tenant.pk,
        "slug": "acme-corp",
        "name": "Acme Corp",
        "time_zone": "Europe/Berlin",
        "store_by_default": True,
        "retention_days": 30,
    }
    assert tenant.time_zone == "Europe/Berlin"


def test_create_tenant_says_what_is_kept_and_for_how_long() -> None:
    answer("create_tenant", "Acme", "--retention-days", "7", "--no-store")
    tenant = Tenant.objects.get()
    assert (tenant.retention_days, tenant.store_by_default) == (7, False)


def test_create_tenant_refuses_to_keep_nothing() -> None:
    assert "retention" in refusal("create_tenant", "Acme", "--retention-days", "0")


def test_create_tenant_tells_a_person_how_to_go_on() -> None:
    assert "create_key --tenant acme --name first" in text("create_tenant", "Acme")


def test_create_tenant_takes_a_slug_for_a_name_without_latin_letters() -> None:
    assert refusal("create_tenant", "東京").startswith("slug: No slug can be derived")
    assert answer("create_tenant", "東京", "--slug", "tokyo")["slug"] == "tokyo"


def test_create_tenant_refuses_a_slug_that_is_taken() -> None:
    answer("create_tenant", "Acme")
    assert refusal("create_tenant", "ACME") == (
        "slug: Tenant 'acme' already exists; choose another with --slug."
    )
    assert Tenant.objects.count() == 1


def test_create_tenant_names_a_time_zone_that_does_not_exist() -> None:
    assert refusal("create_tenant", "Acme", "--time-zone", "Berlin") == (
        "time_zone: 'Berlin' is not an IANA time zone, such as Europe/Berlin."
    )
    assert not Tenant.objects.exists()
