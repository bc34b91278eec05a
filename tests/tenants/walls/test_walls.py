"""The database refuses every link between tenants, whatever writes it: here, SQL of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import Model

from gateway_project import doctor
from gateway_project.lib import ids
from responses_api.models import ConversationItem, StoredItem, StoredResponse
from responses_api.storage import chains
from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel, Target
from tenants import triggers
from tenants.access import ownership
from tenants.models import ApiKey, Budget, Invoice, Tenant, TenantDeletion
from tenants.walls import composites, walls
from tenants.walls.links import EXEMPT, WRITTEN_FIRST, Link, all_links, owned_models, walled
from tests.console import world as worlds
from tests.console.pages import text, url
from tests.support import kept_rows, whole_tenant
from tests.support.whole_tenant import rows_of

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

WALL = re.compile(r"another tenant|stays with its tenant|wall_")
# What a copy of a row needs to differ from it in, beside its key, its name and the link.
COPIES: dict[str, dict[str, Any]] = {
    "tenants.invoice": {"kind": "credit_note", "number": None, "state": "draft"},
    "tenants.invoiceline": {"position": 77, "invoice_id": None},
    "tenants.credittransaction": {"reference": "a copy"},
    "tenants.ratelimit": {"metric": "tokens"},
    "tenants.invitation": {"digest": b"a copy"},
    "tenants.membership": {"user_id": None},
    "tenants.apitoken": {"digest": b"a copy", "public_id": "a copy"},
    "responses_api.conversationitem": {"position": 77},
    "responses_api.eventchunk": {"first": 77},
    "responses_api.webhookdelivery": {"event_id": "evt_copy"},
}


@dataclass(frozen=True, slots=True)
class Neighbours:
    ours: Tenant
    theirs: Tenant


@pytest.fixture
def both() -> Neighbours:
    made = Neighbours(*whole_tenant.put("ours", "theirs"))
    for tenant in (made.ours, made.theirs):  # which no whole tenant has
        TenantDeletion.objects.create(tenant=tenant, tombstone=f"deleted-{tenant.pk}")
    # So that no other constraint stands before the wall.
    ConversationItem.objects.filter(tenant=made.ours, position=1).update(position=7)
    return made


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def told(work: Callable[..., Any], *values: Any) -> str:
    """Return what the database says against it, at once or when the transaction ends; empty if nothing."""
    try:
        with transaction.atomic():
            work(*values)
    except IntegrityError as error:
        return str(error)
    return ""


def insert(table: str, values: dict[str, Any]) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(["%s"] * len(values))
    sql(f'INSERT INTO "{table}" ({names}) VALUES ({places})', *values.values())


def stored(model: type[Model], pk: Any) -> dict[str, Any]:
    """A row as the table has it."""
    with connection.cursor() as cursor:
        key = model._meta.pk.get_db_prep_value(pk, connection)
        cursor.execute(
            f'SELECT * FROM "{model._meta.db_table}" WHERE {model._meta.pk.column} = %s', [key]
        )
        row = cursor.fetchone()
        return dict(zip([column[0] for column in cursor.description], row, strict=True))


def adapted(row: dict[str, Any]) -> dict[str, Any]:
    if connection.vendor != "postgresql":
        return row
    from psycopg.types.json import Jsonb  # noqa: PLC0415

    return {
        name: Jsonb(value) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }


def linked(link: Link, tenant: Tenant) -> Any:
    """The newest row of the tenant that has this link."""
    rows = reversed(rows_of(tenant, link.child))
    return next(row for row in rows if getattr(row, link.field.attname) is not None)


def foreign_value(link: Link, tenant: Tenant) -> Any:
    """The column's value that leads to a row of that tenant."""
    used = {getattr(row, link.field.attname) for row in rows_of(tenant, link.child)}
    found = rows_of(tenant, link.field.related_model)
    row = next(row for row in found if not link.field.unique or row.pk not in used)
    value = getattr(row, link.field.target_field.attname)
    return link.field.target_field.get_db_prep_value(value, connection)


def test_a_whole_tenant_has_a_row_of_every_model_and_uses_every_link(both: Neighbours):
    empty = [m._meta.label for m in owned_models() if not rows_of(both.ours, m)]
    unused = [
        link.label
        for link in all_links()
        if all(getattr(r, link.field.attname) is None for r in rows_of(both.ours, link.child))
    ]
    # One line each in tests/support/whole_tenant.py, which make() calls.
    assert (empty, unused) == ([], []), "tests/support/whole_tenant.py makes no such row or link"


def test_no_statement_turns_a_link_to_another_tenant(both: Neighbours):
    passed = []
    for link in walled():
        row, value = linked(link, both.ours), foreign_value(link, both.theirs)
        table, key = link.child._meta.db_table, link.child._meta.pk
        pk = key.get_db_prep_value(row.pk, connection)
        change = f'UPDATE "{table}" SET {link.field.column} = %s WHERE {key.column} = %s'
        said = told(sql, change, value, pk)
        # History refuses every change of its rows, before the wall can.
        history = {"tenants_credittransaction", "tenants_invoice", "tenants_invoiceline"}
        if not (WALL.search(said) or (said and table in history)):
            passed.append((link.label, said))
    assert passed == []


def test_no_statement_adds_a_row_that_leads_to_another_tenant(both: Neighbours):
    draft = next(row for row in rows_of(both.ours, Invoice) if row.state == "draft")
    passed = []
    for link in walled():
        model = link.child
        copy = stored(model, linked(link, both.ours).pk)
        differs = dict(COPIES.get(model._meta.label_lower, {}))
        if "name" in copy:  # which is often unique
            differs.setdefault("name", "a-copy")
        if "user_id" in differs:
            differs["user_id"] = User.objects.create_user("newcomer").pk
        if "invoice_id" in differs:
            differs["invoice_id"] = draft.pk
        key: Any = model._meta.pk
        if key.get_internal_type() == "UUIDField":
            differs[key.column] = key.get_db_prep_value(ids.uuid7(), connection)
        elif key.get_internal_type().endswith("AutoField"):
            del copy[key.column]
        copy |= {**differs, str(link.field.column): foreign_value(link, both.theirs)}
        said = told(insert, model._meta.db_table, adapted(copy))
        if not WALL.search(said):
            passed.append((link.label, said))
    assert passed == []


@pytest.mark.long
def test_no_row_moves_to_another_tenant_or_changes_its_key(both: Neighbours):
    passed = []
    for model in owned_models():
        path, key = ownership.paths(model)[0], model._meta.pk
        [row, *_], [theirs, *_] = rows_of(both.ours, model), rows_of(both.theirs, model)
        pk = key.get_db_prep_value(row.pk, connection)
        columns = {path[0].column: theirs} if path else {key.column: theirs}
        for column, other in columns.items():
            field = next(f for f in model._meta.concrete_fields if f.column == column)
            value = getattr(other, field.attname) if path else 987_654
            value = field.get_db_prep_value(value, connection)
            change = f'UPDATE "{model._meta.db_table}" SET {column} = %s WHERE {key.column} = %s'
            said = told(sql, change, value, pk)
            if not said or "UNIQUE" in said:
                passed.append((model._meta.label, column, said))
    assert passed == []


@pytest.mark.long
def test_rows_of_the_platform_lead_to_no_tenant_and_tenants_to_the_platform(both: Neighbours):
    theirs = rows_of(both.theirs, ProviderModel)[0]
    platform = Provider.objects.get(tenant=None)
    model = ProviderModel.objects.create(provider=platform, upstream_id="shared")
    everybodys = Alias.objects.get(tenant=None)

    assert WALL.search(
        told(lambda: Target.objects.bulk_create([Target(alias=everybodys, provider_model=theirs)]))
    )
    secret = rows_of(both.theirs, Credential)[0]
    change = "UPDATE routing_credential SET tenant_id = NULL WHERE id = %s"
    key = Credential._meta.pk.get_db_prep_value(secret.pk, connection)
    assert WALL.search(told(lambda: sql(change, key)))
    ours = rows_of(both.ours, Alias)[0]
    assert not told(lambda: Target.objects.create(alias=ours, provider_model=model))


@pytest.mark.long
def test_rows_that_come_before_what_they_lead_to_are_no_way_around(both: Neighbours):
    """A foreign key is looked at when the transaction ends; until then it may lead to nothing."""
    ours, key = rows_of(both.ours, Alias)[0], rows_of(both.ours, ApiKey)[0]
    their_provider = rows_of(both.theirs, Provider)[0]

    def through_a_model() -> None:
        copy = stored(Target, rows_of(both.ours, Target)[0].pk)
        del copy["id"]
        late = {"alias_id": ours.pk, "provider_model_id": 99_001, "position": 5}
        insert("routing_target", adapted(copy | late))
        copy = stored(ProviderModel, rows_of(both.theirs, ProviderModel)[0].pk)
        copy |= {"id": 99_001, "provider_id": their_provider.pk, "upstream_id": "late"}
        insert("routing_providermodel", adapted(copy))

    def through_an_alias() -> None:
        copy = stored(AliasGrant, rows_of(both.ours, AliasGrant)[0].pk)
        del copy["id"]
        insert("routing_aliasgrant", adapted(copy | {"api_key_id": key.pk, "alias_id": 99_002}))
        copy = stored(Alias, rows_of(both.theirs, Alias)[0].pk)
        insert("routing_alias", adapted({**copy, "id": 99_002, "name": "late"}))

    def through_a_key() -> None:
        copy = stored(Budget, rows_of(both.ours, Budget)[0].pk)
        del copy["id"]
        insert("tenants_budget", adapted({**copy, "api_key_id": 99_003}))
        copy = stored(ApiKey, rows_of(both.theirs, ApiKey)[0].pk)
        insert("tenants_apikey", adapted({**copy, "id": 99_003, "public_id": "late000000"}))

    for attack in (through_a_model, through_an_alias, through_a_key):
        assert WALL.search(told(attack)), attack


def test_within_a_tenant_everything_can_be_written_as_before(both: Neighbours):
    """Each link written anew, to where it leads already."""
    refused = []
    for link in walled():
        row = linked(link, both.ours)
        table, key = link.child._meta.db_table, link.child._meta.pk
        if table in {"tenants_credittransaction", "tenants_invoice", "tenants_invoiceline"}:
            continue
        pk = key.get_db_prep_value(row.pk, connection)
        change = f'UPDATE "{table}" SET {link.field.column} = {link.field.column} WHERE {key.column} = %s'
        if said := told(sql, change, pk):
            refused.append((link.label, said))
    assert refused == []


@pytest.mark.long
def test_what_no_wall_holds_is_never_read(both: Neighbours):
    """An item of another tenant at one of our responses (EXEMPT in tenants/walls/links.py)."""
    ours = rows_of(both.ours, StoredResponse)
    response = next(row for row in ours if row.status == "completed" and not row.parent_id)
    word = whole_tenant.planted("theirs")
    item_id, body = kept_rows.message(word)
    StoredItem.objects.create(
        tenant=both.theirs, response=response, side=0, position=50, item_id=item_id, body=body
    )
    chain = chains.load(both.ours.pk, response.pk)
    assert chain is not None
    assert len(chain.items) == 1
    assert word not in str(chain.items)
    page = text(worlds.staff("owner", both.ours).get(url(response, "change")))
    assert word not in page


# What is older than the walls


@pytest.mark.long
def test_links_from_before_the_walls_are_named_and_stop_nothing(both: Neighbours):
    key, alias = rows_of(both.ours, ApiKey)[0], rows_of(both.theirs, Alias)[0]
    budget = rows_of(both.ours, Budget)[0]
    their_key = rows_of(both.theirs, ApiKey)[0]
    with connection.cursor() as cursor:
        triggers.remove()
        for one in composites.ALL if connection.vendor == "postgresql" else ():
            cursor.execute(f'ALTER TABLE "{one.table}" DROP CONSTRAINT "{one.name}"')
    AliasGrant.objects.create(api_key=key, alias=alias)
    Budget.objects.filter(pk=budget.pk).update(api_key=their_key)

    triggers.install()

    assert triggers.differences() == []
    whose = f"of tenant {both.ours.pk} leads by"
    grant = AliasGrant.objects.get(api_key=key, alias=alias)
    assert walls.strays(connection) == [
        f"routing.AliasGrant {grant.pk} {whose} 'alias' to a row of tenant {both.theirs.pk}.",
        f"tenants.Budget {budget.pk} {whose} 'api_key' to a row of tenant {both.theirs.pk}.",
    ]
    assert "isolation" in {f.subject for f in doctor.examine() if f.level == "broken"}

    grant.delete()
    Budget.objects.filter(pk=budget.pk).update(api_key=None)
    triggers.install()
    assert walls.strays(connection) == []
    assert composites.add(connection, composites.ALL) == []


def test_a_key_that_is_missing_is_found_and_made_again():
    if connection.vendor != "postgresql":
        assert composites.differences(connection) == []
        return
    composites.drop(connection, composites.ALL)
    assert "The foreign key wall_budget_api_key is missing." in triggers.differences()
    triggers.install()
    assert triggers.differences() == []


# Every model


def test_every_link_between_rows_of_tenants_is_walled_or_exempt_with_a_reason():
    labels = {link.label for link in all_links()}
    assert len(labels) > 10, "no links were found"
    gone = EXEMPT.keys() - labels
    assert not gone, f"take it out of EXEMPT in tenants/walls/links.py: {gone}"
    assert all(len(reason) > 20 for reason in (*EXEMPT.values(), *WRITTEN_FIRST.values()))
    assert composites.labels() <= labels - EXEMPT.keys()
    for vendor in ("sqlite", "postgresql"):
        guarded = _guarded(walls.triggers(vendor))
        keyed = composites.labels() if vendor == "postgresql" else frozenset()
        missing = {link.label for link in walled()} - guarded - keyed
        assert not missing, f"no trigger of {vendor} looks at {missing}"


def test_names_of_triggers_are_unique_and_fit():
    for vendor in ("sqlite", "postgresql"):
        names = [trigger.name for trigger in (*triggers.REGISTRY, *walls.triggers(vendor))]
        assert len(set(names)) == len(names)
        assert max(map(len, names)) <= triggers.MAX_NAME


def test_composite_keys_lead_where_both_sides_always_have_a_tenant():
    by_label = {link.label: link for link in walled()}
    for key in composites.ALL:
        link = by_label[key.label]
        assert (key.table, key.column) == (link.child._meta.db_table, link.field.column)
        assert key.parent == link.field.related_model._meta.db_table
        assert key.parent_key == link.field.target_field.column
        assert [path[-1].column for path in (link.owner, link.target)] == ["tenant_id"] * 2
        assert not any(path[-1].null for path in (link.owner, link.target))
        assert (len(link.owner), len(link.target)) == (1, 2)


def _guarded(made: Sequence[triggers.Trigger]) -> set[str]:
    by_table = {link.child._meta.db_table: link.child for link in walled()}
    return {
        f"{by_table[t.table]._meta.label_lower}.{t.subject}"
        for t in made
        if t.event == "INSERT" and t.table in by_table
    }
