"""A query that is built once finds what the query set finds, whatever it is asked for afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.test.utils import CaptureQueriesContext

from gateway_project.lib.prepared import MOST_VALUES, PreparedQuery
from routing.models import Alias, Target
from tenants.models import KeySecret
from tests.plugins.cases import cases
from tests.support import rows

pytestmark = [pytest.mark.persistence, pytest.mark.django_db]

ODD = "100 % of 'it' ünd \"so\" %s"


def _of(tenant: Any, names: Any) -> Any:
    return (
        Alias.objects.filter(Q(tenant=tenant) | Q(tenant=None), name__in=names)
        .select_related("tenant", "platform_alias")
        .order_by("name")
    )


@pytest.fixture
def tenant() -> int:
    rows.sandbox_aliases("http://127.0.0.1:9/v1")
    rows.alias(ODD, drop_unsupported=True)
    owner = rows.customer("acme").tenant
    rows.alias("own", tenant=owner)
    return int(owner.pk)


NAMES = [
    ("sandbox-chat",),
    ("own", ODD),
    (ODD, "nobody's", "sandbox-responses"),
    ("' OR 1=1 --",),
    (),
    (*(f"sandbox-{number}" for number in range(MOST_VALUES)), "own"),
]


@cases("names", NAMES)
@cases("owner", ["acme", "nobody", "none"])
def test_it_finds_what_the_query_set_finds(tenant, owner, names):
    prepared = PreparedQuery(_of)
    ids = {"acme": tenant, "nobody": 987654321, "none": None}
    # Built for other values, or for none of them: what is asked for now counts.
    prepared.rows(5, tuple(f"other {number}" for number in range(len(names))))
    for _ in range(2):
        found = prepared.rows(ids[owner], names)
        expected = list(_of(ids[owner], names))
        assert [vars_of(each) for each in found] == [vars_of(each) for each in expected]
        assert [each.tenant for each in found] == [each.tenant for each in expected]


def vars_of(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_bytes_and_rows_behind_others_are_read_in_one_query(tenant):
    secrets = PreparedQuery(
        lambda digest: KeySecret.objects.select_related("api_key__tenant").filter(digest=digest)
    )
    targets = PreparedQuery(
        lambda alias: Target.objects.filter(alias=alias).select_related("provider_model__provider")
    )
    stored = KeySecret.objects.get()
    alias = Alias.objects.get(name="sandbox-chat")
    assert secrets.rows(b"nobody's") == []
    with CaptureQueriesContext(connection) as asked:
        (secret,) = secrets.rows(bytes(stored.digest))
        (target,) = targets.rows(alias.pk)
        assert secret.api_key.tenant.pk == tenant
        assert target.provider_model.provider.name == "sandbox-chat"
    assert len(asked) == 2
    assert (secret.created_at, bytes(secret.digest)) == (stored.created_at, bytes(stored.digest))


def test_what_is_worked_out_beside_a_row_comes_with_it(tenant):
    own: PreparedQuery[Any] = PreparedQuery(
        lambda name: Alias.objects.filter(name=name).annotate(
            is_own=Exists(Alias.objects.filter(pk=OuterRef("pk"), tenant__isnull=False, name=name))
        )
    )
    assert [each.is_own for each in own.rows("own")] == [True]
    assert [each.is_own for each in own.rows("sandbox-chat")] == [False]


def test_what_does_not_take_a_value_as_it_is_is_refused(tenant):
    with pytest.raises(AssertionError, match="as it is"):
        PreparedQuery(lambda name: Alias.objects.filter(name__startswith=name)).rows("sand")
