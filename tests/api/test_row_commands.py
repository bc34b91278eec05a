"""Commands of rows, for every kind of row at once: they list, show, add, change and remove what the API does.

Which there are is read from the code; a new one that makes or changes something needs an entry in NEW and
CHANGES, or a test fails.
"""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.db.models import Model

from responses_api.models import WebhookDelivery
from routing.models import Provider, ProviderModel, Target
from tenants.managed import naming
from tenants.management.rows import AddRow, ListRows, RemoveRow, RowsCommand, SetRow, ShowRow
from tenants.models import AuditEvent, PriceVersion
from tests.api.test_matrix import planted, rows_of
from tests.commands.running import answer, failed_answer, refusal, text
from tests.console.world import SECRET, World
from tests.structure.test_commands_of_routes import COMMANDS

pytestmark = pytest.mark.django_db
LINES = json.dumps(
    [
        {"token_class": "input_fresh", "pico_per_token": 1},
        {"token_class": "output_visible", "pico_per_token": 2},
    ]
)
# What a new row is given, by command; names are looked up in the tenant "ours".
NEW: dict[str, tuple[str, ...]] = {
    "add_credential": ("--provider", "ours-provider", "--name", "new", "--secret-env", "NEW_SECRET"),
    "add_custom_role": ("--name", "new", "--permissions", "keys.view"),
    "add_external_identity": (
        "--issuer", "https://login.new.example", "--subject", "new", "--user", "ours-member",
    ),
    "add_grant": ("--api-key", "ours key", "--alias", "plat-alias"),
    "add_identity_domain": ("--provider", "ours login", "--domain", "new.example"),
    "add_identity_provider": (
        "--name", "new", "--issuer", "https://login.new.example", "--client-id", "new",
        "--secret-env", "NEW_SECRET",
    ),
    "add_model": ("--provider", "ours-provider", "--upstream-id", "new"),
    "add_price_version": (
        "--book", "charge", "--model", "m", "--effective-from", "30d",
         "--lines",
        LINES,
    ),
    "add_target": ("--alias", "ours-alias", "--provider-model", "ours-provider/second"),
    "add_webhook": ("--url", "https://new.example/hook", "--events", "response.completed"),
}  # fmt: skip
# What is changed: an option, and what the row says of it afterwards.
CHANGES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "set_alias": (("--cache-seconds", "60"), {"cache_seconds": 60}),
    "set_credential": (("--weight", "7"), {"weight": 7}),
    "set_custom_role": (("--name", "renamed"), {"name": "renamed"}),
    "set_external_identity": (("--subject", "renamed"), {"subject": "renamed"}),
    "set_guardrail": (("--disable",), {"enabled": False}),
    "set_identity_domain": (("--confirmed",), {"confirmed": True}),
    "set_identity_provider": (("--no-enabled",), {"enabled": False}),
    "set_key": (("--allowed-networks", "10.0.0.0/8"), {"allowed_networks": ["10.0.0.0/8"]}),
    "set_model": (("--context-window", "1000"), {"context_window": 1000}),
    "set_provider": (("--limits", '{"concurrency": 5}'), {"limits": {"concurrency": 5}}),
    "set_target": (("--weight", "5"), {"weight": 5}),
    "set_tenant": (("--retention-days", "7"), {"retention_days": 7}),
    "set_token": (("--expires-at", "none"), {"expires_at": None}),
    "set_user": (("--no-is-active",), {"is_active": False}),
    "set_webhook": (("--events", "response.failed"), {"events": ["response.failed"]}),
}
# Published prices stay as they are.
REFUSES_CHANGES = {"set_price_version", "remove_price_version"}


def kinds(kind: type[RowsCommand]) -> dict[str, Any]:
    return {name: command for name, command in COMMANDS.items() if isinstance(command, kind)}


def key_of(command: Any, row: Model) -> str:
    return str(getattr(row, command.rows.resource.key))


def ours(command: Any, rows: dict[type[Model], dict[str, Any]]) -> Model:
    row = rows[command.rows.resource.model]["ours"]
    assert row is not None
    return row


def events() -> int:
    return AuditEvent.objects.filter(actor_kind="command").count()


def outcome(name: str, key: str) -> dict[str, Any] | str:
    """Return what a command says, or why it refuses."""
    try:
        return answer(name, key, "--yes")
    except CommandError as error:
        return str(error)


def test_every_list_shows_its_rows_with_names_and_no_secret(world: World):
    rows, wrong = rows_of(world), []
    secrets = [each.decode() for each in planted(world)]
    for name, command in kinds(ListRows).items():
        row = ours(command, rows)
        found = answer(name, "--limit", "1000")
        shown = next(
            (each for each in found["data"] if str(each["id"]) == key_of(command, row)), None
        )
        if shown is None or (
            shown.get("tenant") and shown["names"]["tenant"] not in ("ours", "plat")
        ):
            wrong.append(f"{name}: {shown}")
        people = text(name)
        if not people.startswith("id") or any(s in people + json.dumps(found) for s in secrets):
            wrong.append(f"{name}: {people[:200]}")
        if missing := set(command.columns) - set(shown or ()):
            wrong.append(f"{name} has no {missing}")
    assert wrong == []


def test_a_list_ends_after_its_limit_and_goes_on_by_its_cursor(world: World):
    first = answer("list_tenants", "--limit", "1")
    second = answer("list_tenants", "--limit", "1", "--cursor", first["next_cursor"])
    assert [each["slug"] for each in first["data"] + second["data"]] == ["zzcanary", "ours"]
    assert second["next_cursor"] is None
    assert f"--cursor {first['next_cursor']}" in text("list_tenants", "--limit", "1")
    assert "limit: " in refusal("list_tenants", "--limit", "1001")
    assert "cursor: " in refusal("list_tenants", "--cursor", "x")


def test_lists_are_narrowed_by_names(world: World):
    budgets = answer("list_budgets", "--tenant", "ours")["data"]
    assert {each["names"]["tenant"] for each in budgets} == {"ours"}
    targets = answer("list_targets", "--alias", "plat-alias")["data"]
    assert [each["names"]["alias"] for each in targets] == ["plat-alias"]
    grants = answer("list_grants", "--api-key", "ours key")["data"]
    assert [each["names"]["api_key"] for each in grants] == ["ours key"]
    assert answer("list_audit_events", "--since", "2030-01-01")["data"] == []
    assert refusal("list_budgets", "--tenant", "nobody").startswith("tenant: There is no tenant")
    assert refusal("list_targets", "--alias", "x").startswith("alias: There is no alias 'x'. Known")
    assert refusal("list_audit_events", "--since", "yesterday").startswith("since: ")


def test_every_row_is_shown_as_the_api_shows_it(world: World):
    rows, wrong = rows_of(world), []
    secrets = [each.decode() for each in planted(world)]
    for name, command in kinds(ShowRow).items():
        row = ours(command, rows)
        parts = [f"--{part.name.replace('_', '-')}" for part in command.parts]
        found = answer(name, key_of(command, row), *parts)
        people = text(name, key_of(command, row), *parts)
        if str(found["id"]) != key_of(command, row) or "id: " not in people:
            wrong.append(f"{name}: {found}")
        if any(secret in people + json.dumps(found) for secret in secrets):
            wrong.append(f"{name} tells a secret")
        if part := [part.name for part in command.parts if part.name not in found]:
            wrong.append(f"{name} leaves out {part}")
        told = refusal(name, "987654321")
        if not told.startswith(f"{command.noun}: There is no "):
            wrong.append(f"{name}: {told}")
    assert wrong == []


def test_rows_are_found_by_their_names(world: World):
    for name, command in kinds(ShowRow).items():
        row = ours(command, rows_of(world))
        if called := naming.name_of(row):
            has_tenant = "--tenant" in command.create_parser("", name).format_help()
            found = answer(name, called, *(("--tenant", "ours") if has_tenant else ()))
            assert str(found["id"]) == key_of(command, row), name
    assert "of 'zzcanary'" in refusal("show_budget", "ours budget", "--tenant", "zzcanary")


def test_every_row_is_added_and_the_audit_names_the_command(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NEW_SECRET", f"new-{SECRET}")
    assert NEW.keys() == kinds(AddRow).keys()
    ProviderModel.objects.create(provider=world.ours.provider, upstream_id="second")
    for name, options in NEW.items():
        command, before = COMMANDS[name], events()
        has_tenant = "--tenant" in command.create_parser("", name).format_help()
        owner = ("--tenant", "ours") if has_tenant and name != "add_identity_domain" else ()
        with transaction.atomic():
            made = answer(name, *options, *owner)
            row = command.rows.resource.model._default_manager.get(
                **{command.rows.resource.key: made["id"]}
            )
            assert f"new-{SECRET}" not in json.dumps(made), name
            assert events() > before, name
            assert row is not None
            transaction.set_rollback(True)
    secret = answer("add_webhook", "--tenant", "ours", "--url", "https://x.example/")["secret"]
    assert secret.startswith("whsec_")


def test_every_row_is_changed_and_the_audit_names_the_command(world: World):
    rows = rows_of(world)
    assert CHANGES.keys() | REFUSES_CHANGES >= kinds(SetRow).keys()
    for name, (options, expected) in CHANGES.items():
        command, before = COMMANDS[name], events()
        key = key_of(command, ours(command, rows))
        with transaction.atomic():
            found = answer(name, key, *options)
            assert expected.items() <= found.items(), (name, found)
            assert events() > before or name == "set_token", name
            assert "Nothing to change" in refusal(name, key), name
            transaction.set_rollback(True)
    assert refusal("set_alias", "ours-alias", "--cache-seconds", "long") == (
        "cache_seconds: 'long' is not a whole number."
    )
    target = key_of(COMMANDS["set_target"], ours(COMMANDS["set_target"], rows))
    assert "weight: " in refusal("set_target", target, "--weight", "5000")
    assert "quirks: " in refusal("set_provider", "ours-provider", "--quirks", "{")


def test_every_row_is_removed_or_a_reason_told_and_the_audit_names_the_command(world: World):
    rows = rows_of(world)
    for name, command in kinds(RemoveRow).items():
        row, before = ours(command, rows), events()
        key = key_of(command, row)
        with transaction.atomic():
            told = outcome(name, key)
            if isinstance(told, str):  # something keeps it
                assert (bool(told), events()) == (True, before), name
            else:
                assert (str(told["id"]), told["name"]) == (key, naming.name_of(row)), name
                assert not type(row)._default_manager.filter(pk=row.pk).exists(), name
                assert events() > before, name
            transaction.set_rollback(True)
    assert "Nobody may do this" in refusal(
        "remove_price_version", str(world.ours.price.pk), "--yes"
    )
    assert "are behind the aliases" in refusal(
        "remove_provider", "ours-provider", "--tenant", "ours", "--yes"
    )


def test_nothing_is_removed_unless_it_is_meant(world: World, monkeypatch: pytest.MonkeyPatch):
    budget = world.ours.budget
    unnamed = refusal("remove_budget", budget.name, "--yes")
    assert unnamed == (
        f"budget: The budget {budget.name!r} of tenant 'ours' is meant? "
        f"Say --tenant ours, or its id, {budget.pk}."
    )
    named = (budget.name, "--tenant", "ours")
    deed = f"remove the budget {budget.name!r} of tenant 'ours'"
    assert refusal("remove_budget", *named) == f"This would {deed}. Say --yes to do it."
    asked = StringIO()
    asked.isatty = lambda: True  # type: ignore[method-assign]
    for said, is_done in (("\n", False), ("no\n", False), ("y\n", True)):
        answers = StringIO(said)
        answers.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", answers)
        monkeypatch.setattr("sys.stderr", asked)
        if is_done:
            assert text("remove_budget", *named) == (
                f"Removed the budget {budget.name!r} of tenant 'ours'.\n"
            )
        else:
            assert refusal("remove_budget", *named) == "Nothing was done."
        assert type(budget).objects.filter(pk=budget.pk).exists() is not is_done
    assert asked.getvalue() == f"This will {deed}. Do it? [y/N] " * 3


def test_who_read_a_stored_response_by_a_command_is_in_the_audit_log(world: World):
    call_command("show_response", world.ours.response.pk, "--items")
    event = AuditEvent.objects.filter(action="response.read").latest("id")
    assert (event.actor_name, event.object_id) == (
        "manage.py show_response",
        world.ours.response.pk,
    )


def test_a_token_an_invitation_and_a_support_session_end(world: World):
    token = answer("revoke_token", world.ours.token.public_id)
    assert token["revoked_at"] is not None
    resent = answer(
        "resend_invitation",
        str(world.ours.invitation.pk),
        "--console-url",
        "https://console.example",
    )
    assert resent["link"].startswith("https://console.example/")
    revoked = answer("revoke_invitation", str(world.ours.invitation.pk))
    assert (revoked["state"], revoked["names"]["tenant"]) == ("revoked", "ours")
    assert answer("end_support_session", str(world.ours.support.pk))["ends_at"] is not None


def test_a_webhooks_secret_is_rotated_and_a_delivery_sent_again(world: World):
    before = world.ours.endpoint.sealed_secret
    rotated = answer("rotate_webhook_secret", world.ours.endpoint.url, "--tenant", "ours")
    assert rotated["secret"].startswith("whsec_")
    world.ours.endpoint.refresh_from_db()
    assert world.ours.endpoint.sealed_secret != before
    told = refusal("resend_webhook_delivery", str(world.ours.delivery.pk))
    assert told == "webhook_delivery: The delivery has not ended yet."
    WebhookDelivery.objects.filter(pk=world.ours.delivery.pk).update(state="given_up")
    assert answer("resend_webhook_delivery", str(world.ours.delivery.pk))["state"] == "pending"


def test_targets_are_reordered_and_a_draft_of_prices_is_published(world: World):
    second = ProviderModel.objects.create(provider=world.ours.provider, upstream_id="second")
    ours = ("--tenant", "ours")
    answer("add_target", *ours, *NEW["add_target"], "--position", "1")
    ids = [each["id"] for each in answer("list_targets", "--alias", "ours-alias", *ours)["data"]]
    order = ",".join(map(str, ids))
    assert (
        answer("reorder_targets", "ours-alias", *ours, "--targets", order)["name"] == "ours-alias"
    )
    assert Target.objects.get(provider_model=second).position == 0
    assert "targets: Write ids" in refusal("reorder_targets", "ours-alias", *ours, "--targets", "a")
    draft = answer("add_price_version", *NEW["add_price_version"])
    assert draft["published_at"] is None
    published = answer("publish_price_version", str(draft["id"]))
    assert published["published_by"] == "manage.py publish_price_version"


def test_reports_answer_what_the_api_does(world: World):
    logged = answer("list_requests", "--tenant", "ours", "--since", "399d")["data"]
    assert {each["names"]["tenant"] for each in logged} == {"ours"}
    assert answer("show_overview", "--tenant", "ours")["refused"] == 0
    assert answer("show_usage_series", "--group-by", "key", "--start", "90d")["group_by"] == "key"
    assert refusal("list_requests", "--since", "1d", "--until", "2d").startswith("since: ")
    assert "ours-alias" in text("list_alias_figures")
    assert "ours-provider" in text("list_provider_figures")
    assert "plat-alias" in text("list_prices")
    assert answer("list_background")["data"] == []
    assert "response: No such response" in refusal("cancel_response", "resp_x")
    assert answer("show_system")["database"] in {"sqlite", "postgresql"}


def test_what_a_price_would_come_to_is_told_and_nothing_changes(world: World):
    before = PriceVersion.objects.count()
    told = answer("preview_price", "--alias", "plat-alias", "--input", "1", "--output", "2")
    assert told.keys() >= {"requests", "before_nano", "after_nano"}
    assert PriceVersion.objects.count() == before
    assert "input: " in refusal("preview_price", "--alias", "x", "--input", "a", "--output", "2")


def test_upstreams_that_do_not_answer_are_told_of_by_the_exit_code(world: World):
    told = failed_answer("test_provider", "ours-provider", "--tenant", "ours")
    assert (told["ok"], told["models"]) == (False, [])
    model = naming.name_of(world.ours.model)
    assert failed_answer("test_model", model, "--tenant", "ours")["ok"] is False
    tried = failed_answer(
        "setup_provider",
        "new",
        "--protocol",
        "chat",
        "--base-url",
        "https://n.example/v1",
        "--dry-run",
    )
    assert tried["ok"] is False
    assert not Provider.objects.filter(name="new").exists()


def test_a_provider_is_set_up_in_one_go(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEW_SECRET", f"new-{SECRET}")
    made = answer(
        *("setup_provider", "new", "--protocol", "chat", "--base-url", "https://n.example/v1"),
        *("--secret-env", "NEW_SECRET", "--model", "large=big", "--model", "small"),
    )
    assert (made["models"], made["aliases"]) == (["large", "small"], ["big"])
    assert Provider.objects.get(name="new").credentials.count() == 1
    assert "protocol" in refusal("setup_provider", "other", "--base-url", "https://n.example/v1")


def test_a_budget_is_changed_by_what_is_named_alone(world: World):
    made = ("set_budget", "--tenant", "ours", "--name", "new")
    assert refusal(*made).startswith("amount: ")
    answer(*made, "--amount", "25.00", "--thresholds", "50,90", "--alert-emails", "a@example.com")
    answer(*made, "--no-enabled")
    row = answer("show_budget", "new", "--tenant", "ours")
    assert (row["amount_nano"], row["thresholds"], row["enabled"]) == (25 * 10**9, [50, 90], False)
    assert "amount: 25.00" in text("show_budget", "new", "--tenant", "ours")


def test_a_key_is_restricted_to_aliases_and_let_to_all_again(world: World):
    restricted = answer("set_key", "ours key", "--aliases", "plat-alias")
    assert (restricted["all_aliases"], restricted["aliases"]) == (False, ["plat-alias"])
    assert answer("set_key", "ours key", "--all-aliases")["all_aliases"] is True
    assert "aliases: " in refusal("set_key", "ours key", "--aliases", "nothing")


def test_a_webhook_that_does_not_answer_is_told_of_with_whose_it_is(world: World):
    told = failed_answer("test_webhook", world.ours.endpoint.url, "--tenant", "ours")
    assert (told["state"], told["names"]["tenant"]) == ("given_up", "ours")
    assert AuditEvent.objects.filter(action="webhook_endpoint.tested").exists()


def test_a_name_that_nothing_has_is_refused_with_those_there_are(world: World):
    told = refusal("show_alias", "nothing", "--tenant", "ours")
    assert told == "alias: There is no alias 'nothing' of 'ours'. Known ones: ours-alias."
    assert "ours budget" in told or "Known ones: " in told


def test_what_people_read_is_in_dollars_and_tables_and_refusals_say_where_to_look(world: World):
    budget, key = world.ours.budget, world.ours.key
    assert re.search(
        r"daily: 0\.00(,0\.00){6}\n", text("show_budget", str(budget.pk), "--standing")
    )
    secrets = text("show_key", key.public_id).partition("secrets:\n")[2]
    assert secrets.split()[:3] == ["shown", "created_at", "expires_at"]
    told = refusal("show_billing_period", "2026-11")
    assert told.endswith("list_billing_periods lists their ids.")
    assert refusal("set_key", key.public_id, "--expires-at", "soon").endswith(
        "or 30d for so long from now."
    )
    changed = text("set_provider", "ours-provider", "--limits", '{"concurrency": 5}')
    assert changed.startswith("Changed the provider 'ours-provider' of tenant 'ours'.\n")
    assert "limits:\n  concurrency: 5\n" in changed
