"""No address and no form that somebody mistypes or invents ends in a server error."""

from __future__ import annotations

import logging
import sys
from collections import ChainMap
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock, log
from responses_api.models import Guardrail, WebhookEndpoint
from routing.models import Alias, Provider
from tenants.console import scoped_admin
from tenants.models import ApiKey, Budget, Invoice, PlatformRole, UsageRow
from tests.console.pages import act, alias_form, text, url
from tests.console.world import World
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

# No number, no UUID and no date; larger than any column; what PostgreSQL cannot store.
GARBAGE = ("x", "9" * 30, "a\x00b")
LOOKUPS = ("id__exact", "gte")
# Of any list: its page, its order, its search, and a filter that nothing has.
BROKEN_LISTS = (f"p={'9' * 30}&e=1", "o=99.x.-&_popup=1", "q=%00", "a__b__c=1")


def failures(client: Client, requests: Iterable[tuple[str, Any]]) -> list[str]:
    """Send each, undo what it did, and tell of those that the server failed at."""
    client.raise_request_exception = False
    failed = []
    for address, form in requests:
        with transaction.atomic():
            answer: Any = client.get(address) if form is None else client.post(address, form)
            transaction.set_rollback(True)
        if answer.status_code >= 500 or "Traceback" in text(answer):
            failed.append(f"{address} {form}: {answer.exc_info[1]!r}")
    return failed


def lists() -> Iterator[tuple[str, None]]:
    for model, page in django_admin.site._registry.items():
        for question in (*BROKEN_LISTS, *_filters(page)):
            yield f"{url(model, 'changelist')}?{question}", None


def _filters(page: Any) -> Iterator[str]:
    for item in page.list_filter:
        path: Any = item[0] if isinstance(item, tuple) else item
        names = [f"{path}__exact"] if isinstance(path, str) else [path.parameter_name]
        if isinstance(item, tuple):
            names = [f"{path}__{lookup}" for lookup in LOOKUPS]
        for name in names:
            yield from (urlencode({name: value}) for value in GARBAGE)


def rows() -> Iterator[tuple[str, None]]:
    for model in django_admin.site._registry:
        for key in ("x", "9" * 30, "a%00b"):
            for page in ("change/", "document.pdf"):
                yield f"{url(model, 'changelist')}{key}/{page}", None


def forms_filled_by_an_address() -> Iterator[tuple[str, None]]:
    for model in django_admin.site._registry:
        for value in GARBAGE:
            filled = dict.fromkeys((field.name for field in model._meta.get_fields()), value)
            yield f"{url(model, 'add')}?{urlencode(filled)}", None


def actions() -> Iterator[tuple[str, dict[str, Any]]]:
    for model, page in django_admin.site._registry.items():
        for action in ("delete_selected", *(page.actions or ())):
            for value in GARBAGE:
                form = {"action": action, "_selected_action": [value], "post": "yes"}
                yield url(model, "changelist"), form


def posted_forms(client: Client, *addresses: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each page's form as it is sent, with garbage in all fields, and in how many rows it says to have."""
    for address in addresses:
        answer = client.get(address)
        if answer.status_code != 200:
            continue
        sent, counts = _fields(answer.context)
        for value in GARBAGE:
            yield address, {**dict.fromkeys(sent, value), **counts}
        for name in counts:
            yield address, {**sent, **counts, name: "x"}
            yield address, {**sent, **counts, name: "-1"}


def _fields(context: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if "adminform" not in context:  # a form of ours
        return _values(context["form"]), {}
    sets = [inline.formset for inline in context["inline_admin_formsets"]]
    inner = [form for each in sets for form in each.forms]
    sent = [_values(form) for form in (context["adminform"].form, *inner)]
    counts = [_values(each.management_form) for each in sets]
    return dict(ChainMap(*sent)), dict(ChainMap(*counts))


def _values(form: Any) -> dict[str, Any]:
    return {field.html_name: "" if field.value() is None else field.value() for field in form}


def completions() -> Iterator[tuple[str, None]]:
    asked = "app_label=routing&model_name=target&field_name=provider_model"
    for wrong in ("term=%00", "page=x", f"page={'9' * 30}", "field_name=x", "model_name=%00"):
        yield f"{reverse('admin:autocomplete')}?{asked}&{wrong}", None


def test_no_address_of_any_page_is_a_server_error(world: World, operator: Client) -> None:
    assert failures(operator, sampled(list(lists()), default=15, ci=40)) == []
    assert failures(operator, sampled(list(rows()), default=15, ci=30)) == []
    assert failures(operator, sampled(list(forms_filled_by_an_address()), default=8, ci=16)) == []
    assert failures(operator, completions()) == []


def test_no_form_of_any_page_is_a_server_error(world: World, operator: Client) -> None:
    models = set(django_admin.site._registry) - {Guardrail}
    kinds = [f"{url(Guardrail, 'add')}?kind={kind}" for kind in Guardrail.Kind.values]
    empty = [*kinds, *sorted(url(model, "add") for model in models)]
    filled = [url(row, "change") for row in world.ours.rows()]
    assert failures(operator, sampled(list(actions()), default=16, ci=34)) == []
    forms = sampled([*empty, *filled], default=4, ci=9)
    posted = list(posted_forms(operator, *forms))
    assert failures(operator, sampled(posted, default=25, ci=60)) == []


@cases(
    ("model", "question"),
    [
        (UsageRow, "opened_at__gte=x"),
        (Invoice, "tenant__id__exact=x"),
        (Invoice, "state=draft"),
        (Budget, "p=77"),
    ],
)
def test_a_list_says_what_in_its_address_it_cannot_use(
    model: type[Model],
    question: str,
    world: World,
    operator: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(django_admin.site._registry[model], "list_per_page", 1)
    answer = operator.get(f"{url(model, 'changelist')}?{question}", follow=True)

    assert f"cannot be filtered by {question}" in text(answer)
    assert len(answer.context["cl"].result_list) > 0


def test_a_list_is_searched_for_no_more_than_a_database_takes(
    world: World, operator: Client
) -> None:
    answer = operator.get(url(ApiKey, "changelist"), {"q": "a" * 50_001})
    assert answer.status_code == 200
    assert "at most 200 characters" in text(answer)


def test_the_filters_that_a_list_can_use_stay(world: World, operator: Client) -> None:
    kept = f"tenant__id__exact={world.ours.tenant.pk}"

    answer = operator.get(f"{url(Invoice, 'changelist')}?state=draft&{kept}")

    assert answer["location"].endswith(f"?{kept}")


def test_an_id_that_is_none_is_named_in_the_form_and_in_the_list(
    world: World, operator: Client
) -> None:
    of_form = operator.post(url(Provider, "add"), {"tenant": "x"})
    act(operator, WebhookEndpoint, "delete_selected", WebhookEndpoint(pk="x"), post="yes")
    of_list = operator.get(url(WebhookEndpoint, "changelist"))

    assert "Select a valid choice" in text(of_form)
    assert "Nothing was done: the selection is not a valid webhook endpoint." in text(of_list)


def test_the_same_row_from_two_tabs_is_added_once_and_the_second_is_told(
    world: World, admin: Client
) -> None:
    # Both tabs were opened before there was any target.
    target = {"position": 1, "provider_model": world.ours.model.pk}

    again = admin.post(url(world.ours.alias, "change"), alias_form(target, name="ours-alias"))

    assert "already exists" in text(again)
    assert world.ours.alias.targets.count() == 1


def test_two_who_save_at_the_same_moment_do_not_meet_an_error(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both forms were valid; the database lets one of them in."""
    user = User.objects.create_user("auditor")
    PlatformRole.objects.create(user=user)
    monkeypatch.setattr(PlatformRole, "validate_unique", lambda *_args, **_options: None)

    answer = operator.post(
        url(PlatformRole, "add"), {"user": user.pk, "role": "auditor"}, follow=True
    )

    assert "Nothing was saved" in text(answer)
    assert PlatformRole.objects.filter(user=user).count() == 1


def test_what_a_form_can_take_is_filled_in_from_the_address(world: World, operator: Client) -> None:
    answer = operator.get(f"{url(Provider, 'add')}?tenant={world.ours.tenant.slug}&name=filled")

    assert "ours tenant" in text(answer)
    assert 'value="filled"' in text(answer)


def test_who_selects_more_rows_than_a_form_may_name_is_told_how_many_can_be_deleted(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoped_admin, "MOST_DELETED", 1)
    before = Alias.objects.count()
    assert before > 1
    chosen = list(Alias.objects.all()[:2])
    for asked in ({}, {"select_across": "1"}):
        rows = chosen if not asked else chosen[:1]
        answer = act(operator, Alias, "delete_selected", *rows, **asked)
        assert answer.status_code == 302
        page = text(operator.get(url(Alias, "changelist")))
        assert "at most 1 can be deleted at once" in page
    assert Alias.objects.count() == before
    assert act(operator, Alias, "delete_selected", chosen[0]).status_code == 200  # asks first


def test_what_django_refuses_as_hostile_is_logged_without_a_traceback(settings: Any) -> None:
    stop = None
    try:
        raise SuspiciousOperation("The field slug cannot be referenced.")
    except SuspiciousOperation:
        stop = sys.exc_info()
    for name, has_traceback in (
        ("django.security.DisallowedModelAdminToField", False),
        ("django.request", True),
    ):
        record = logging.LogRecord(name, logging.ERROR, "", 0, "said", None, stop)
        assert log.RefusedByDjango().filter(record)
        assert (record.exc_info is not None) is has_traceback
    assert settings.LOGGING["handlers"]["stderr"]["filters"] == ["refusals"]


def test_what_django_refuses_as_hostile_is_logged_shortly_and_not_without_end(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's address is 64 KB long, and may hold what is nobody's business."""
    monkeypatch.setattr(log.RequestLog, "STRANGERS_BURST", 2)
    monkeypatch.setattr(log.RequestLog, "STRANGERS_PER_SECOND", 1e-6)
    refusals, stranger = log.RefusedByDjango(), Client()
    for _ in range(5):
        assert stranger.get("/console/", {"q": "private" * 5_000}).status_code == 400
    records = [each for each in caplog.records if each.name.startswith("django.security.")]
    passed = [each for each in records if refusals.filter(each)]
    assert (len(records), len(passed)) == (5, 2)
    for formatter in (log.JsonFormatter(), log.ConsoleFormatter()):
        lines = [formatter.format(each) for each in passed]
        assert max(map(len, lines)) < 1_000
        assert "private" not in "".join(lines)
    monkeypatch.setattr(clock, "monotonic", lambda: 1e12)
    assert refusals.filter(records[-1])
    assert '"left_out":3' in log.JsonFormatter().format(records[-1])
