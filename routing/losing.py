"""Say which aliases lose a model when providers go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from routing.models import Target


def targets_of(providers: Iterable[Any]) -> QuerySet[Target]:
    """Return the targets that are models of these providers."""
    keys = [provider.pk for provider in providers]
    return (
        Target.objects.filter(provider_model__provider__in=keys)
        .select_related("alias", "provider_model__provider")
        .order_by("alias__name", "position", "pk")
    )


def sentences(targets: QuerySet[Target]) -> Sequence[str]:
    """Return a sentence for each of the targets: what its alias loses, and whether anything is left."""
    lost = list(targets)
    aliases = {target.alias_id for target in lost}
    left = set(
        Target.objects.filter(alias__in=aliases)
        .exclude(pk__in=[target.pk for target in lost])
        .values_list("alias", flat=True)
    )
    return [_sentence(target, is_left=target.alias_id in left) for target in lost]


def _sentence(target: Target, *, is_left: bool) -> str:
    names = {"alias": target.alias.name, "model": str(target.provider_model)}
    if is_left:
        return _("Alias “%(alias)s” loses %(model)s; its other targets stay.") % names
    return (
        _("Alias “%(alias)s” loses %(model)s and has nothing left: requests to it will fail.")
        % names
    )
