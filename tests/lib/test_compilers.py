"""Queries are compiled as Django compiles them, whatever they select, join, rename or convert."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Lower
from django.db.models.sql import compiler as djangos

from gateway_project.lib import compilers
from tenants.models import ApiKey, Membership, Tenant, UsageRow

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]


def plain() -> Iterator[QuerySet[Any]]:
    """Yield what is asked of every model, with what it refers to."""
    for model in apps.get_models():
        rows = model._default_manager.all()
        yield rows
        yield rows.select_related()
        yield rows.values_list("pk")
        yield rows.only("pk")


def further() -> Iterator[QuerySet[Any]]:
    keys, members = ApiKey.objects.all(), Membership.objects.all()
    yield keys.filter(tenant__slug="a", name__startswith="b").order_by("tenant__slug", "-name")
    yield keys.defer("name").select_related("tenant")
    yield keys.annotate(slug=F("tenant__slug"), small=Lower("name")).order_by("small")
    yield keys.extra(
        select={"name": "1", "tenant_id": "2"}
    )  # columns of these names are no longer quoted
    yield keys.filter(Q(tenant__in=Tenant.objects.filter(slug="a")) | Q(name="b")).distinct()
    yield Tenant.objects.annotate(one=Exists(keys.filter(tenant=OuterRef("pk"))))
    yield Tenant.objects.annotate(
        one=Subquery(keys.filter(tenant=OuterRef("pk")).values("name")[:1])
    )
    yield Tenant.objects.annotate(
        many=Count("api_keys"), members=Count("memberships", distinct=True)
    )
    yield Tenant.objects.filter(api_keys__name="a", memberships__role="b").filter(
        api_keys__name="c"
    )
    yield UsageRow.objects.values("alias").annotate(sum=Sum("charge_nano")).order_by("-sum")
    yield members.filter(user__in=User.objects.filter(pk__gt=3)).select_related("user", "tenant")
    yield keys.order_by().filter(name="a").union(keys.order_by().filter(name="b"))
    yield keys.filter(tenant=7)[5:10]
    yield keys.none()


def djangos_own(query: Any) -> Any:
    """Return the compiler that Django would take on this database."""
    theirs = next(
        each
        for each in type(query.get_compiler("default")).__mro__
        if issubclass(each, djangos.SQLCompiler) and not issubclass(each, compilers.PlainColumns)
    )
    return theirs(query, connection, "default")


def compiled(compiler: Any) -> Any:
    """Return the statement, and how what it finds is converted."""
    try:
        statement = compiler.as_sql()
    except EmptyResultSet:
        return None
    columns = [entry[0] for entry in compiler.select]
    converters = {
        place: [getattr(each, "__qualname__", repr(each)) for each in found]
        for place, (found, _column) in compiler.get_converters(columns).items()
    }
    own = (compiler.klass_info or {}).get("select_fields")
    return statement, converters, own, compiler.annotation_col_map


def test_statements_and_conversions_are_djangos() -> None:
    differing = []
    for rows in (*plain(), *further(), *plain()):
        ours = rows.query.clone().get_compiler("default")
        assert isinstance(ours, compilers.PlainColumns)
        if compiled(ours) != compiled(djangos_own(rows.query.clone())):
            differing.append(str(rows.query))

    assert differing == []


def test_a_query_of_everything_finds_what_is_there() -> None:
    tenant = Tenant.objects.create(slug="a")
    key = ApiKey.objects.create(tenant=tenant, name="b", public_id="c")

    found = ApiKey.objects.select_related("tenant").get(tenant__slug="a")

    assert (found.pk, found.tenant.slug, found.created_at) == (key.pk, "a", key.created_at)
