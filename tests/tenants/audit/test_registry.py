"""Every model that tenants or the console know is recorded, or left out for a reason."""

from __future__ import annotations

import re
from pathlib import Path

from django.apps import apps
from django.contrib import admin
from django.db.models import BinaryField, Model

from tenants.access import ownership
from tenants.audit import registry
from tenants.audit.querysets import RecordedModel, RecordedQuerySet

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("gateway_project", "tenants", "routing", "responses_api")
SOUNDS_SECRET = re.compile(
    r"secret|passw|digest|sealed|cookie|credential|private_key|(^|_)(hash|token|session)(_|$)"
)


def concerned() -> set[type[Model]]:
    paged = set(admin.site._registry)
    return paged | {model for model in apps.get_models() if ownership.paths(model)}


def test_every_model_of_tenants_or_the_console_is_recorded_or_left_out_with_a_reason() -> None:
    named = registry.RECORDED.keys() | registry.LEFT_OUT.keys()
    missing = sorted(m._meta.label for m in concerned() if m._meta.label not in named)
    assert missing == [], (
        "Add a line to RECORDED in tenants/audit/registry.py for each, "
        'such as "tenants.Invitation": Recorded("invitation", secret=_only("digest")), and derive it from '
        "RecordedModel or RevisionedModel; or a line to LEFT_OUT that says why its changes are no events."
    )


def test_no_model_is_both_and_every_entry_is_a_model() -> None:
    assert not registry.RECORDED.keys() & registry.LEFT_OUT.keys()
    for label in (*registry.RECORDED, *registry.LEFT_OUT):
        apps.get_model(label)
    assert all(registry.LEFT_OUT.values())
    names = [told.name for told in registry.RECORDED.values()]
    assert len(set(names)) == len(names)


def test_bulk_writes_of_recorded_models_are_recorded() -> None:
    for label in registry.RECORDED:
        model = apps.get_model(label)
        if not model.__module__.startswith(PACKAGES):
            continue  # of Django or a library; nothing of ours writes many of them at once (see below)
        assert issubclass(model, RecordedModel), f"derive {label} from RecordedModel"
        for manager in model._meta.managers:
            assert isinstance(manager.get_queryset(), RecordedQuerySet), f"{label}.{manager.name}"


def test_fields_that_sound_secret_are_masked_or_said_to_be_plain() -> None:
    for label, told in registry.RECORDED.items():
        fields = apps.get_model(label)._meta.concrete_fields
        known = {field.name for field in fields}
        assert (told.secret | told.noise | told.plain) <= known, label
        suspicious = {
            field.name
            for field in fields
            if SOUNDS_SECRET.search(field.name) or isinstance(field, BinaryField)
        }
        unsaid = suspicious - told.secret - told.plain - told.noise
        assert not unsaid, (
            f"{label}: name {unsaid} in `secret`, or in `plain` if everybody may read it"
        )


def test_nothing_of_ours_writes_recorded_rows_past_the_log() -> None:
    """Neither by SQL, nor by a bare QuerySet, nor users by the many."""
    tables = "|".join(apps.get_model(label)._meta.db_table for label in registry.RECORDED)
    sql = re.compile(rf"(UPDATE|INSERT INTO|DELETE FROM)\s+\"?({tables})\b")
    bare = re.compile(r"models\.QuerySet\((\w+)\)|_raw_delete|_base_manager\b.*\.(update|delete)\(")
    users = re.compile(
        r"(User|Group|get_user_model\(\))\.\w+\b.*\.(update|bulk_create|bulk_update)\("
    )
    allowed = {
        "tenants/ledger/booking.py",  # when a key was last used, which is noise
        "tenants/audit/querysets.py",
        "tenants/deletion/rows.py",  # a whole tenant's rows, whose deletion is one event
        "responses_api/storage/removal.py",  # stored answers, which are left out
    }
    found = [
        f"{path}:{number}"
        for path in _sources()
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if sql.search(line) or users.search(line) or (bare.search(line) and path not in allowed)
    ]
    assert found == []


def _sources() -> list[str]:
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return sorted(
        path.relative_to(ROOT).as_posix() for path in paths if "migrations" not in path.parts
    )
