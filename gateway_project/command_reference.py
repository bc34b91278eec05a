"""Write docs/commands.md: `python -m gateway_project.command_reference > docs/commands.md`.

Usage and options are read from the parsers; what else there is to say about a command stands in
docs/commands, in a file of its name.
"""

from __future__ import annotations

import os
import sys
from argparse import Action, BooleanOptionalAction
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.core.management import get_commands, load_command_class
from django.utils import translation

TEXTS = Path(__file__).resolve().parent.parent / "docs" / "commands"
PACKAGES = ("gateway_project", "tenants", "routing", "responses_api")
# Django's own; and the one that the introduction explains.
OF_EVERY_COMMAND = {
    *("--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback"),
    *("--no-color", "--force-color", "--skip-checks", "--json"),
}
MOST_CHOICES = 60  # characters of choices that a usage line spells out

SUBJECTS = {
    "Running it": (
        *(
            "quickstart",
            "serve",
            "doctor",
            "show_system",
            "show_metrics",
            "serve_metrics",
            "ingest",
            "background_worker",
            "beat",
        ),
        *("migrate", "backup", "restore", "sandbox", "seed_demo"),
    ),
    "Tenants": (
        *("create_tenant", "list_tenants", "show_tenant", "set_tenant", "suspend_tenant"),
        "delete_tenant",
    ),
    "People and roles": (
        *("invite", "list_invitations", "show_invitation", "resend_invitation"),
        *("revoke_invitation", "add_member", "list_members", "show_member", "set_role"),
        *("remove_member", "add_custom_role", "list_custom_roles", "show_custom_role"),
        *("set_custom_role", "remove_custom_role", "create_operator", "list_users", "show_user"),
        *("set_user", "reset_second_factor", "list_sessions", "show_session", "remove_session"),
        *("list_support_sessions", "show_support_session", "end_support_session"),
    ),
    "Sign-in by identity providers": (
        *("add_identity_provider", "list_identity_providers", "show_identity_provider"),
        *("set_identity_provider", "remove_identity_provider", "add_identity_domain"),
        *("list_identity_domains", "show_identity_domain", "set_identity_domain"),
        *("confirm_domain", "remove_identity_domain", "add_external_identity"),
        *("list_external_identities", "show_external_identity", "set_external_identity"),
        "remove_external_identity",
    ),
    "Keys and tokens": (
        *("create_key", "list_keys", "show_key", "set_key", "rotate_key", "revoke_key"),
        *("remove_key", "add_grant", "list_grants", "show_grant", "remove_grant", "create_token"),
        *("list_tokens", "show_token", "set_token", "revoke_token", "remove_token"),
    ),
    "Limits and budgets": (
        *("set_limit", "list_limits", "show_limit", "remove_limit", "set_budget", "list_budgets"),
        *("show_budget", "remove_budget"),
    ),
    "Providers and models": (
        *("setup_provider", "add_provider", "list_providers", "show_provider", "set_provider"),
        *("remove_provider", "test_provider", "list_provider_figures", "add_credential"),
        *("list_credentials", "show_credential", "set_credential", "remove_credential"),
        *("sync_models", "add_model", "list_models", "show_model", "set_model", "remove_model"),
        "test_model",
    ),
    "Aliases and routes": (
        *("add_alias", "list_aliases", "show_alias", "set_alias", "remove_alias"),
        *("list_alias_figures", "purge_cache", "add_target", "list_targets", "show_target"),
        *("set_target", "remove_target", "reorder_targets", "check_upstream", "explain_route"),
        *("show_circuits", "reset_circuit", "codex_profile"),
    ),
    "Prices": (
        *("list_prices", "set_price", "preview_price", "import_prices", "add_price_version"),
        *("list_price_versions", "show_price_version", "set_price_version"),
        *("publish_price_version", "remove_price_version"),
    ),
    "Usage and requests": (
        *("usage_report", "show_overview", "show_usage_series", "list_requests", "find_request"),
        *("list_usage_calls", "show_usage_call", "list_usage_hours", "show_usage_hour"),
        *("list_usage_days", "show_usage_day", "export_usage", "correct_usage"),
        *("settle_deferred", "rebuild_rollups", "start_export", "list_tasks", "show_task"),
        *("confirm_task", "discard_task", "fetch_task"),
    ),
    "Billing": (
        *("list_billing_periods", "show_billing_period", "close_period", "issue_invoices"),
        *("list_invoices", "show_invoice", "set_issuer", "show_issuer", "set_billing_details"),
        *("show_billing_details", "remove_billing_details", "finalize_invoice"),
        "issue_credit_note",
        *("grant_credit", "list_credits", "show_credit", "reconcile", "ledger_check"),
        "start_rerating",
    ),
    "Guardrails": (
        *("add_guardrail", "list_guardrails", "show_guardrail", "set_guardrail"),
        *("remove_guardrail", "test_guardrail", "list_guardrail_events", "show_guardrail_event"),
    ),
    "What runs and what is stored": (
        *("in_flight", "stop_request", "list_background", "cancel_response", "list_responses"),
        *("show_response", "remove_response", "list_conversations", "show_conversation"),
        *("remove_conversation", "start_purge", "purge_responses"),
    ),
    "Webhooks": (
        *("add_webhook", "list_webhooks", "show_webhook", "set_webhook", "remove_webhook"),
        *("rotate_webhook_secret", "test_webhook", "list_webhook_deliveries"),
        *("show_webhook_delivery", "resend_webhook_delivery"),
    ),
    "Configuration and secrets": ("apply", "export_config", "rotate_secrets", "accept_keys"),
    "Audit log": ("list_audit_events", "show_audit_event", "audit_verify", "export_audit"),
}
OTHERS = "Others"


def our_commands() -> dict[str, str]:
    """Return the application of each of our commands, by name."""
    found = get_commands().items()
    return {name: str(app) for name, app in sorted(found) if str(app) in PACKAGES}


def unexplained(command: Any, name: str) -> list[str]:
    """Return the arguments and options of a command that do not say what they are for."""
    parser = command.create_parser("manage.py", name)
    return [action.dest for action in parser._actions if not action.help]


def document() -> str:
    """Write the page: an introduction, a table for each subject, a section for each command."""
    apps = our_commands()
    known = {name for names in SUBJECTS.values() for name in names}
    subjects = {**SUBJECTS, OTHERS: tuple(sorted(apps.keys() - known))}
    commands = {
        name: load_command_class(apps[name], name) for names in subjects.values() for name in names
    }
    with translation.override("en"):
        sections = [_section(name, command) for name, command in commands.items()]
    tables = [_table(head, names, commands) for head, names in subjects.items() if names]
    return "\n".join([(TEXTS / "introduction.md").read_text(), *tables, *sections])


def _table(head: str, names: tuple[str, ...], commands: dict[str, Any]) -> str:
    rows = (f"| [`{name}`](#{name}) | {_first_sentence(commands[name].help)} |" for name in names)
    return "\n".join([f"**{head}**\n", "| command | what it does |\n|---|---|", *rows, ""])


def _section(name: str, command: Any) -> str:
    parser = command.create_parser("manage.py", name)
    actions = [each for each in parser._actions if not set(each.option_strings) & OF_EVERY_COMMAND]
    exclusive = [
        (group._group_actions, group.required) for group in parser._mutually_exclusive_groups
    ]
    usage = " ".join([name, *_usage(actions, exclusive), *_json(parser)])
    parts = [f"## {name}\n`{usage}`\n", f"{command.help}\n"]
    if told := [_option(parser, action) for action in actions]:
        parts.append("\n".join(["| option | |", "|---|---|", *told, ""]))
    if text := _text(name):
        parts.append(text)
    return "\n".join(parts)


def _usage(actions: list[Action], exclusive: list[tuple[list[Action], bool]]) -> Iterator[str]:
    """Yield the parts of a usage line: arguments, then options, those that exclude one another together."""
    told: list[Action] = []
    for action in sorted(actions, key=lambda each: bool(each.option_strings)):
        if action in told:
            continue
        group, is_needed = next(
            ((group, needed) for group, needed in exclusive if action in group), ([action], False)
        )
        told += group
        is_needed = is_needed or action.required
        text = " | ".join(_flag(each) for each in group)
        if len(group) > 1 and is_needed:
            text = f"({text})"
        yield text if is_needed else f"[{text}]"


def _flag(action: Action) -> str:
    """Return how an action is typed."""
    if not action.option_strings:
        return str(action.metavar or action.dest.upper())
    if isinstance(action, BooleanOptionalAction):
        return "|".join(action.option_strings)
    flag = action.option_strings[-1]
    if action.nargs == 0:
        return flag
    choices = "|".join(map(str, action.choices or ()))
    named = str(action.metavar or action.dest.upper())
    return f"{flag} {choices if not action.metavar and 0 < len(choices) <= MOST_CHOICES else named}"


def _option(parser: Any, action: Action) -> str:
    about = parser._get_formatter()._expand_help(action) if action.help else ""
    if action.choices and len("|".join(map(str, action.choices))) > MOST_CHOICES:
        about += f": {', '.join(map(str, action.choices))}"
    return f"| `{_escaped(_flag(action))}` | {_escaped(about)} |"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _json(parser: Any) -> list[str]:
    return ["[--json]"] if "--json" in parser._option_string_actions else []


def _text(name: str) -> str:
    path = TEXTS / f"{name}.md"
    return path.read_text() if path.exists() else ""


def _first_sentence(text: str) -> str:
    head, stop, _ = text.partition(". ")
    return f"{head}." if stop else head


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    django.setup()
    sys.stdout.write(document())
