"""Say, once for each kind of row, who may do what with it and which values are whose to set.

The console's pages and the management API read the same `Resource`; neither has rules of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet

from gateway_project.lib.secret import Secret
from tenants.access import ownership
from tenants.access.access import Access
from tenants.access.rights import RIGHTS, Area, Right
from tenants.models import Membership, Tenant

Row = TypeVar("Row", bound=Model)
Values = Mapping[str, Any]


class Resource:
    """One kind of row. Subclasses say what differs from the usual."""

    model: ClassVar[type[Model]]
    area: ClassVar[Area]
    rights: ClassVar[frozenset[Right]] = frozenset(RIGHTS)  # what can be done with such rows at all
    key: ClassVar[str] = "pk"  # the column by which people and programs name a row
    # The columns that people call a row by within its owner, of linked rows too; none if rows have no names.
    named_by: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ()  # what is written, columns of the model
    extra: ClassVar[tuple[str, ...]] = ()  # what is written beside columns, such as a secret
    fixed: ClassVar[tuple[str, ...]] = ("tenant",)  # set once, when the row is made
    of_operators: ClassVar[tuple[str, ...]] = ()  # shown to tenant staff, not theirs to set
    shows_platform_rows: ClassVar[bool] = False  # tenant staff see and choose them, no more
    of_upstreams: ClassVar[bool] = False  # the platform's only where `Tenant.shows_upstreams`
    hidden_of_platform: ClassVar[tuple[str, ...]] = ()  # what a platform's row keeps from them
    has_own_dependants: ClassVar[bool] = False  # what goes with a row is its own, and may be much

    def may(self, who: Access, right: Right, row: Model | None) -> bool:
        """Tell whether they may do this to a row as it stands, or (None) to any."""
        if right not in self.rights:
            return False
        if row is None:
            return who.may_somewhere(right, self.area)
        owner = ownership.owner_id(row)
        if owner is None and right == "view" and self._shows_platform_rows_to(who):
            return who.may_somewhere("view", self.area)
        return who.may(right, self.area, owner)

    def visible(self, who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Return those of the rows that they may see."""
        if (self.area, "view") in who.platform:
            return rows
        tenants = who.tenants_where("view", self.area)
        return ownership.rows_of(rows, tenants, platform=self._shows_platform_rows_to(who))

    def _shows_platform_rows_to(self, who: Access) -> bool:
        is_shown = self.shows_platform_rows and who.may_somewhere("view", self.area)
        return is_shown and (who.sees_upstreams or not self.of_upstreams)

    def reserved(self, who: Access, row: Model) -> frozenset[str]:
        """Return the fields of this row that are not theirs to set."""
        is_platforms = {(self.area, "add"), (self.area, "change")} & who.platform
        return frozenset() if is_platforms else frozenset(self.of_operators)

    def why_reserved(self, name: str) -> str:
        """Say whose a field is to set, to somebody whose it is not."""
        return "Only operators of the platform set this."

    def hidden(self, who: Access, row: Model) -> frozenset[str]:
        """Return the fields of this row that are not theirs to see."""
        is_guest = ownership.owner_id(row) is None and not who.sees_all_tenants
        return frozenset(self.hidden_of_platform) if is_guest else frozenset()

    def prepare(self, who: Access, row: Any, extra: Values, *, is_new: bool) -> Secret | None:
        """Complete a row before it is checked and saved, and check what its model cannot. Return the
        secret it was given. Raise ValidationError.
        """
        return None

    def validate(self, row: Any) -> None:
        """Raise ValidationError for values, or a combination of them, that cannot be saved."""
        row.full_clean()

    def insert(self, who: Access, row: Any, extra: Values) -> Secret | None:
        """Save a new row that has been checked. Return the secret it was given."""
        row.save()
        return None

    def update(self, who: Access, row: Any, changed: list[str]) -> None:
        """Save these columns of a row that has been checked."""
        row.save(update_fields=changed)

    def finish(self, row: Any, extra: Values, *, is_new: bool) -> Secret | None:
        """Write what belongs to a row that has been saved, in the same transaction. Return the secret it
        was given.
        """
        return None

    def check_removal(self, row: Any) -> None:
        """Raise ValidationError if the row has to stay."""

    def remove(self, who: Access, row: Any) -> None:
        row.delete()


_resources: dict[type[Model], Resource] = {}


def register(resource: Resource) -> Resource:
    """Make a resource known by its model."""
    _resources[resource.model] = resource
    return resource


def resource_of(model: type[Model]) -> Resource:
    """Return what holds for the rows of a model."""
    try:
        return _resources[model]
    except KeyError:
        raise ImproperlyConfigured(f"{model.__name__} is not a managed resource.") from None


def all_resources() -> Iterable[Resource]:
    return tuple(_resources.values())


def key_of(model: type[Model]) -> str:
    """Return the column by which rows of a model are named."""
    resource = _resources.get(model)
    return "pk" if resource is None else resource.key


def named_by(model: type[Model]) -> tuple[str, ...]:
    """Return the columns that people call rows of a model by."""
    resource = _resources.get(model)
    return () if resource is None else resource.named_by


def linkable(who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
    """Return the rows of any model that they may point at. Unknown models offer none."""
    if rows.model is Tenant:  # whose row it is may be said without the right to read about tenants
        return rows if who.sees_all_tenants else rows.filter(pk__in=who.tenants)
    if rows.model is get_user_model():
        return _colleagues(who, rows)
    resource = _resources.get(rows.model)
    return rows.none() if resource is None else resource.visible(who, rows)


def _colleagues(who: Access, rows: QuerySet[Row]) -> QuerySet[Row]:
    if who.sees_all_tenants:
        return rows
    return rows.filter(
        pk__in=Membership.objects.filter(tenant__in=who.tenants_where("view", Area.MEMBERS)).values(
            "user"
        )
    )
