"""The database itself refuses to change what is history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.db.models.signals import post_migrate, pre_migrate

from gateway_project import doctor, migrating, preflight
from gateway_project.lib import clock
from tenants import triggers
from tenants.apps import TenantsConfig
from tenants.models import (
    CreditEntry,
    CreditTransaction,
    Invoice,
    InvoiceLine,
    PriceLine,
    PriceVersion,
    RetentionHorizon,
    Tenant,
    UsageRow,
)
from tests.plugins.cases import cases
from tests.support.usage_rows import AT, usage

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def refused(work: Any) -> bool:
    try:
        with transaction.atomic():
            work()
    except IntegrityError:
        return True
    return False


def published() -> PriceVersion:
    version = PriceVersion.objects.create(book="charge", model="smart", effective_from=clock.now())
    PriceLine.objects.create(version=version, token_class="input_fresh", pico_per_token=1)
    version.published_at = clock.now()
    version.save()
    return version


def finalized(tenant: Tenant) -> Invoice:
    invoice = Invoice.objects.create(tenant=tenant)
    InvoiceLine.objects.create(invoice=invoice, position=1)
    Invoice.objects.filter(pk=invoice.pk).update(state="finalized", number=1)
    return invoice


def test_the_registry_and_the_database_agree_after_migrate():
    assert triggers.differences() == []
    assert triggers.install() == []


def test_the_ledger_refuses_changes_and_removal(tenant: Tenant):
    row = usage(tenant)
    assert refused(lambda: UsageRow.objects.filter(pk=row.pk).update(charge_nano=0))
    assert refused(lambda: UsageRow.objects.all().delete())


def test_only_usage_from_before_its_horizon_can_be_deleted(tenant: Tenant):
    old, new = usage(tenant, AT - timedelta(microseconds=1)), usage(tenant, AT)
    RetentionHorizon.objects.create(table="usage", before=AT)
    assert refused(lambda: UsageRow.objects.filter(pk=new.pk).delete())
    assert UsageRow.objects.filter(pk=old.pk).delete()[0] == 1


def test_credit_is_only_added_to(tenant: Tenant):
    movement = CreditTransaction.objects.create(tenant=tenant, kind="grant", reference="a")
    CreditEntry.objects.create(transaction=movement, account="credit", amount_cents=5)
    for rows in (CreditTransaction.objects.all(), CreditEntry.objects.all()):
        assert refused(lambda rows=rows: rows.update(id=99))
        assert refused(lambda rows=rows: rows._raw_delete("default"))


def test_drafts_may_change_and_go(tenant: Tenant):
    invoice = Invoice.objects.create(tenant=tenant)
    line = InvoiceLine.objects.create(invoice=invoice, position=1)
    InvoiceLine.objects.filter(pk=line.pk).update(amount_cents=5)
    Invoice.objects.filter(pk=invoice.pk).update(total_cents=5)
    invoice.delete()
    assert not InvoiceLine.objects.exists()


def test_a_finalized_invoice_and_its_lines_stay_as_they_are(tenant: Tenant):
    invoice = finalized(tenant)
    assert refused(lambda: Invoice.objects.update(total_cents=1))
    assert refused(lambda: Invoice.objects.update(state="draft", number=None))
    assert refused(lambda: Invoice.objects.all()._raw_delete("default"))
    assert refused(lambda: InvoiceLine.objects.update(amount_cents=1))
    assert refused(lambda: InvoiceLine.objects.all().delete())
    assert refused(lambda: InvoiceLine.objects.create(invoice=invoice, position=2))


def test_no_line_moves_into_a_finalized_invoice(tenant: Tenant):
    invoice = finalized(tenant)
    draft = Invoice.objects.create(tenant=tenant)
    line = InvoiceLine.objects.create(invoice=draft, position=9)
    assert refused(lambda: InvoiceLine.objects.filter(pk=line.pk).update(invoice=invoice))


def test_a_published_price_and_its_lines_stay_as_they_are():
    version = published()
    # Past the ORM, which refuses it first.
    versions: models.QuerySet[PriceVersion] = models.QuerySet(PriceVersion)
    lines: models.QuerySet[PriceLine] = models.QuerySet(PriceLine)
    assert refused(lambda: versions.update(effective_from=clock.now()))
    assert refused(lambda: versions._raw_delete("default"))
    assert refused(lambda: lines.update(pico_per_token=2))
    assert refused(lines.delete)
    line = PriceLine(version=version, token_class="cache_read", pico_per_token=1)
    assert refused(lambda: lines.bulk_create([line]))


def test_an_unpublished_price_may_change_and_go():
    version = PriceVersion.objects.create(book="charge", model="smart", effective_from=clock.now())
    PriceLine.objects.create(version=version, token_class="input_fresh", pico_per_token=1)
    PriceLine.objects.update(pico_per_token=2)
    assert version.delete()[0] == 2


def test_a_missing_trigger_is_found_by_doctor_stops_serve_and_is_repaired():
    with connection.cursor() as cursor:
        on = "" if connection.vendor == "sqlite" else " ON tenants_usagerow"
        cursor.execute(f"DROP TRIGGER tollgate_usagerow_update{on}")
    assert triggers.differences() == ["The trigger tollgate_usagerow_update is missing."]
    assert "triggers" in {f.subject for f in doctor.examine() if f.level == "broken"}
    with pytest.raises(preflight.Unfit, match="usagerow_update is missing"):
        preflight.refuse_unfit()

    assert migrating.migrate() == []

    assert triggers.differences() == []
    preflight.refuse_unfit()


def test_another_definition_under_a_known_name_is_found_and_repaired():
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TRIGGER tollgate_usagerow_update")
            cursor.execute(
                "CREATE TRIGGER tollgate_usagerow_update BEFORE UPDATE ON tenants_usagerow "
                "BEGIN SELECT 1; END"
            )
        else:
            cursor.execute("ALTER TABLE tenants_usagerow DISABLE TRIGGER tollgate_usagerow_update")
    assert triggers.differences() == [
        "The trigger tollgate_usagerow_update is not as it should be."
    ]
    triggers.install()
    assert triggers.differences() == []


@cases("model", [UsageRow, Invoice, PriceVersion])
def test_a_migration_that_rebuilds_a_table_leaves_it_guarded(model: type[models.Model]):
    name = "status" if model is UsageRow else "currency" if model is Invoice else "book"
    before: Any = model._meta.get_field(name)
    after = before.clone()
    after.max_length = 40
    after.set_attributes_from_name(name)
    after.model = model
    sender: dict[str, Any] = {"sender": _our_app(), "using": "default", "app_config": _our_app()}

    pre_migrate.send(**sender, plan=[("a migration", False)], verbosity=0, interactive=False)
    with connection.schema_editor() as editor:
        editor.alter_field(model, before, after)
    was_rebuilt = connection.vendor == "sqlite"
    assert bool(triggers.differences()) is was_rebuilt
    with connection.schema_editor() as editor:
        editor.alter_field(model, after, before)
    post_migrate.send(**sender, plan=[], verbosity=0, interactive=False)

    assert triggers.differences() == []


def _our_app() -> Any:
    config = apps.get_app_config("tenants")
    assert isinstance(config, TenantsConfig)
    return config
