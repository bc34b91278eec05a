"""Every model with rows of tenants has its place in the deletion of a tenant."""

from __future__ import annotations

from django.db.models import ForeignKey

from tenants.access import ownership
from tenants.deletion import plan
from tenants.walls.links import owned_models

ERASED = [kind.label for kind in plan.ERASED]


def test_every_model_of_tenants_is_erased_digested_or_kept_with_a_reason():
    planned = [*ERASED, *plan.DIGESTED, *plan.KEPT]
    assert len(planned) == len(set(planned))
    labels = {model._meta.label for model in owned_models()}
    missing = "\n".join(
        f'    Erased("{label}"),  # in ERASED, or a line in KEPT with the reason'
        for label in sorted(labels - set(planned))
    )
    assert not missing, f"add to tenants/deletion/plan.py:\n{missing}"
    assert not set(planned) - labels, (
        "a line of tenants/deletion/plan.py names a model that is gone"
    )
    assert all(len(reason) > 15 for reason in plan.KEPT.values())


def test_rows_are_erased_before_what_they_lead_to_and_nothing_kept_leads_to_them():
    place = {label: number for number, label in enumerate(ERASED)}
    for model in owned_models():
        for field in model._meta.concrete_fields:
            if not isinstance(field, ForeignKey) or not getattr(field, "db_constraint", True):
                continue
            there = field.related_model._meta.label
            if there in place and there != model._meta.label:
                here = place.get(model._meta.label, len(ERASED))
                assert here < place[there], f"{model._meta.label}.{field.name} leads to {there}"


def test_people_go_last_with_their_history_gone():
    assert ERASED[-2:] == ["tenants.Membership", "tenants.CustomRole"]


def test_digested_columns_are_columns():
    for label, names in plan.DIGESTED.items():
        model = next(m for m in owned_models() if m._meta.label == label)
        columns = {field.column for field in model._meta.concrete_fields}
        assert set(names) <= columns
        assert len(ownership.paths(model)[0]) == 1
