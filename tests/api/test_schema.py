"""The schema that is checked in is that of the routes, and what it says is kept by a live gateway."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.db import transaction
from django.test import Client
from django.urls import reverse

from gateway_project import api_docs, openapi
from tenants.access.access import OPERATOR
from tenants.keys import api_tokens
from tests.api.test_matrix import Known, all_routes, key_of, rows_of
from tests.console import world as worlds
from tests.plugins.tiers import by_tier, sampled
from tests.support.generated import cases_of, faults_of
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS

PER_OPERATION_AND_MODE = by_tier(1, 2, 80)  # a hundred operations
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def test_the_schema_is_that_of_the_routes():
    assert openapi.generate() == api_docs.SCHEMA.read_text(), "Write it anew: make schema"


def test_the_documentation_needs_no_other_host():
    client = Client()

    page = client.get("/api/v1/docs/")
    schema = client.get("/api/v1/openapi.yaml")

    assert schema.content.startswith(b"openapi: 3.")
    assert reverse("management:schema") in page.content.decode()
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "//" not in page.content.decode().replace("<!DOCTYPE", "")
    for name in re.findall(r'(?:src|href)="/static/([^"]+)"', page.content.decode()):
        assert finders.find(name), name


@pytest.mark.django_db(transaction=True)
def test_no_generated_request_finds_an_answer_outside_the_schema(gateway: LiveGateway, settings):
    """Requests that fit the schema and requests that do not, of every operation, to rows that there are."""
    # Here, because every process of a run collects this module, and one makes the test.
    import schemathesis  # noqa: PLC0415

    modes = schemathesis.GenerationMode
    settings.API_LIMITS = ()
    with transaction.atomic():
        world = worlds.make()
    _, token = api_tokens.create(OPERATOR, "schemathesis", ["*"])
    headers = {"authorization": f"Bearer {token.reveal()}"}
    schema = schemathesis.openapi.from_path(api_docs.SCHEMA)
    rows = rows_of(world)
    known = {route.prefix: _keys(route, rows) for route in all_routes()}
    wrong: list[str] = []
    count = 0
    operations = sampled(list(schema.get_all_operations()), default=4, ci=10)
    for found in operations:
        operation: Any = found.ok()  # type: ignore[union-attr]  # else the test has failed
        prefix = operation.path.removeprefix("/api/v1/").partition("/{")[0]
        for mode in (modes.POSITIVE, modes.NEGATIVE):
            change = partial(_name_a_row, known.get(prefix, []))
            for case in cases_of(operation, mode, PER_OPERATION_AND_MODE, change):
                count += 1
                answer = case.call(
                    base_url=gateway.root_url, headers=headers, timeout=GIVE_UP_SECONDS
                )
                wrong.extend(faults_of(case, answer, CHECKS))
    assert wrong == []
    assert count >= by_tier(4, 20, 10_000)


def _keys(route: Any, rows: Known) -> list[str]:
    of_kind = rows.get(route.view.resource.model, {}).values()
    return [key_of(route.view, row) for row in of_kind if row is not None]


def _name_a_row(keys: list[str], case: Any, chance: int) -> None:
    """Let two of three requests name a row that there is."""
    if keys and chance % 3 and case.path_parameters:
        case.path_parameters["key"] = keys[chance % len(keys)]
