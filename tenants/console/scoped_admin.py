"""Scope every console page to the rows of the tenants its user may see.

Everything a page shows or accepts goes through `scoped`: lists, single rows, choices of form fields,
filters, inlines, actions and deletions. tenants/console/scoped_admin_checks.py refuses pages not built on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.utils import flatten, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import ForeignKey, JSONField, ManyToManyField, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext as _

from tenants.access import ownership
from tenants.access.requests import access as access  # noqa: PLC0414  # pages take it from here
from tenants.access.rights import Area, Right
from tenants.console.actions import RowActions
from tenants.console.cascade import reaches_beyond
from tenants.console.checked_input import CheckedFields, CheckedList, CheckedPage
from tenants.console.row_history import RowHistory
from tenants.console.scope import asked_tenant, offered_tenants
from tenants.console.scoped_forms import LEFT_BEHIND, ScopedRawIdWidget, TenantForm, TenantFormSet
from tenants.console.search import Searched
from tenants.deletion.asking import refuse_new_rows
from tenants.managed.resource import Resource
from tenants.models import Membership, Tenant
from tenants.sign_in.proof import ProvenPage
from tenants.theme import Textarea, ThemedInline, ThemedModelAdmin

if TYPE_CHECKING:  # Django 5.2 cannot subscript these when it runs
    _Base = BaseModelAdmin[Any]
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
else:
    _Base = object
    _ModelAdmin = ThemedModelAdmin
    _TabularInline = ThemedInline

Deleted = tuple[list[str], dict[str, int], set[str], list[str]]


class Scoped(CheckedFields, _Base):
    """The common base of pages and inlines."""

    # What pages and the management API share about such rows; it says all of what follows.
    resource: ClassVar[Resource | None] = None
    area: ClassVar[Area]
    shows_platform_rows: ClassVar[bool] = False  # tenant staff see and choose them, no more
    of_upstreams: ClassVar[bool] = False  # only where `Tenant.shows_upstreams`
    # What its rows need to name themselves; in forms and searches too, where Django would not join it.
    list_select_related: ClassVar[bool | list[str] | tuple[str, ...] | tuple[()]] = ()
    view_on_site: Any = False
    list_per_page: ClassVar[int] = 50  # more would be heavy on a telephone
    list_max_show_all: ClassVar[int] = 50
    formfield_overrides: ClassVar[dict[Any, Any]] = {
        JSONField: {"widget": Textarea(attrs={"rows": 3})}
    }

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        resource = cls.__dict__.get("resource")
        if resource is not None:
            cls.area, cls.shows_platform_rows = resource.area, resource.shows_platform_rows

    def may(self, right: Right, request: HttpRequest, row: Model | None) -> bool:
        """Tell whether the person may do this to a row, or (None) to any. For an inline, `row` is its
        parent.
        """
        if self.resource is not None:
            return self.resource.may(access(request), right, row)
        if row is None:
            return access(request).may_somewhere(right, self.area)
        owner = ownership.owner_id(row)
        if owner is None and right == "view" and self._shows_platform_rows(request):
            return access(request).may_somewhere("view", self.area)
        return access(request).may(right, self.area, owner)

    def scoped(self, rows: QuerySet[Any], request: HttpRequest) -> QuerySet[Any]:
        """Return those of the rows that the person may see."""
        who = access(request)
        if isinstance(self.list_select_related, tuple) and self.list_select_related:
            rows = rows.select_related(*self.list_select_related)
        if self.resource is not None:
            return self.resource.visible(who, rows)
        if (self.area, "view") in who.platform:
            return rows
        tenants = who.tenants_where("view", self.area)
        return ownership.rows_of(rows, tenants, platform=self._shows_platform_rows(request))

    def _shows_platform_rows(self, request: HttpRequest) -> bool:
        who = access(request)
        is_shown = self.shows_platform_rows and who.may_somewhere("view", self.area)
        return is_shown and (who.sees_upstreams or not self.of_upstreams)

    def choices(self, rows: QuerySet[Any], request: HttpRequest) -> QuerySet[Any]:
        """Return the rows of any model that the person may point at. Unknown models offer none."""
        related = self.admin_site._registry.get(rows.model)
        if isinstance(related, TenantModelAdmin):
            return related.scoped(rows, request)
        who = access(request)
        if who.sees_all_tenants:
            return rows
        if rows.model is get_user_model():
            colleagues = Membership.objects.filter(
                tenant__in=who.tenants_where("view", Area.MEMBERS)
            )
            return rows.filter(pk__in=colleagues.values("user"))
        if not ownership.paths(rows.model):
            return rows.none()
        return ownership.rows_of(rows, who.tenants, platform=False)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.scoped(super().get_queryset(request), request)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.ModelChoiceField[Any] | None:
        rows = self._choices_of(db_field, request)
        if db_field.name in self.raw_id_fields:
            options["widget"] = ScopedRawIdWidget(rows, db_field.remote_field, self.admin_site)
        field = super().formfield_for_foreignkey(db_field, request, **options)
        if field is not None:
            field.queryset = rows
        return field

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.ModelMultipleChoiceField[Any] | None:
        field = super().formfield_for_manytomany(db_field, request, **options)
        if field is not None:
            rows = db_field.remote_field.model._default_manager.all()
            field.queryset = self.choices(rows, request)
        return field

    def _choices_of(self, field: ForeignKey[Any, Any], request: HttpRequest) -> QuerySet[Any]:
        rows = self.choices(field.remote_field.model._default_manager.all(), request)
        who, owner_path = access(request), ownership.paths(self.model)[0]
        if who.is_operator or field not in owner_path:
            return rows
        # This field decides whose the new row is: not the platform's, and not of a tenant they only read.
        return ownership.rows_of(rows, who.tenants_where("add", self.area), platform=False)

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...]:
        """Offer autocompletion of users to operators only; lists of tenants and users are short for all
        others.
        """
        fields = super().get_autocomplete_fields(request)
        if access(request).is_operator:
            return fields
        return [name for name in fields if name not in {"tenant", "user"}]


class NarrowedList(CheckedList):
    """A list of one tenant's rows, and the platform's, where the person chose to look at one."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        page, chosen = self.model_admin, asked_tenant(request)
        assert isinstance(page, TenantModelAdmin)
        if chosen is not None:
            rows = self.root_queryset
            self.root_queryset = ownership.rows_of(
                rows, {chosen.pk}, platform=page.shows_platform_rows
            )
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return found


# What stands in the place of the tenant on the page of a row of the platform's.
PLATFORMS = "shown_as_platforms"
# Fewer than a form may have fields: it has some of its own.
MOST_DELETED = 900


class TenantModelAdmin(
    Scoped, RowActions, RowHistory, Searched, ProvenPage, CheckedPage, _ModelAdmin
):
    """Pages on rows of a model with a path to Tenant."""

    form: type[forms.ModelForm[Any]] = TenantForm
    fixed_fields: ClassVar[tuple[str, ...]] = ("tenant",)  # set once, when the row is made
    operator_fields: ClassVar[tuple[str, ...]] = ()  # shown to tenant staff, not theirs to change
    when_empty: ClassVar[str | Promise] = (
        ""  # how the first row comes to be, where there is no button
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        resource = cls.__dict__.get("resource")
        if resource is not None:
            cls.fixed_fields = resource.fixed

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may("view", request, None)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may("view", request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may("add", request, None)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may("change", request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may("delete", request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        hidden = self._hidden_fields(request, obj)
        is_platforms = obj is not None and getattr(obj, "tenant_id", obj) is None
        instead = {"tenant": PLATFORMS} if is_platforms and "tenant" in self.fixed_fields else {}
        return [
            (
                title,
                {
                    **options,
                    "fields": [
                        instead.get(name, name)
                        for name in flatten(options["fields"])
                        if name not in hidden
                    ],
                },
            )
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        fixed = self.fixed_fields if obj is not None else ()
        reserved = self._reserved_fields(request, obj)
        return [*super().get_readonly_fields(request, obj), *fixed, *reserved, PLATFORMS]

    @admin.display(description=gettext_lazy("Tenant"))
    def shown_as_platforms(self, row: Model) -> str:
        """Say whose a row is that no tenant owns."""
        return gettext("Platform")

    def _reserved_fields(self, request: HttpRequest, row: Model | None) -> Iterable[str]:
        if self.resource is not None:
            return sorted(self.resource.reserved(access(request), row or self.model()))
        return () if access(request).is_operator else self.operator_fields

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return NarrowedList

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Suggest the tenant that is looked at for a new row, or the only one there is."""
        chosen = asked_tenant(request) or self._only_tenant(request)
        suggested = {"tenant": chosen.pk} if chosen is not None else {}
        return {**super().get_changeform_initial_data(request), **suggested}

    def _only_tenant(self, request: HttpRequest) -> Tenant | None:
        needs_one = any(
            field.name == "tenant" and not field.null for field in self.model._meta.concrete_fields
        )
        offered = offered_tenants(request) if needs_one else []
        return offered[0] if len(offered) == 1 else None

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **options: Any
    ) -> type[forms.ModelForm[Any]]:
        form = super().get_form(request, obj, change, **options)
        # Django makes a new class for every request, so this is not shared between people.
        form.home, form.fixed = self._home(request), frozenset(self.fixed_fields)  # type: ignore[attr-defined]
        return form

    def get_changelist_form(self, request: HttpRequest, **options: Any) -> Any:
        """Check rows that are edited in their list as those of a page: Django's own form would not."""
        return super().get_changelist_form(request, **{"form": TenantForm, **options})

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        # The row as it will be stored, whichever form or list it came from.
        if not self.may("change" if change else "add", request, obj):
            raise PermissionDenied
        if not change:
            refuse_new_rows(ownership.owner_id(obj))
        super().save_model(request, obj, form, change)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *rest: Any, **options: Any
    ) -> HttpResponse | None:
        """Say how many rows can be deleted at once.

        The confirmation page names each row, and a form may not hold more fields than
        `DATA_UPLOAD_MAX_NUMBER_FIELDS`.
        """
        chosen = self._chosen(request, queryset)
        if "delete_selected" in request.POST.getlist("action") and chosen > MOST_DELETED:
            message = f"{chosen} rows are selected; at most {MOST_DELETED} can be deleted at once."
            self.message_user(
                request,
                _("%(message)s Filter the list, or delete it page by page.") % {"message": message},
                messages.ERROR,
            )
            return None
        return super().response_action(request, queryset, *rest, **options)

    @staticmethod
    def _chosen(request: HttpRequest, queryset: QuerySet[Any]) -> int:
        if request.POST.get("select_across", "0") == "0":
            return len(request.POST.getlist("_selected_action"))
        return queryset.count()

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> Deleted:
        who = access(request)
        if not who.is_operator and reaches_beyond(objs, who):
            return [], {}, set(), [str(LEFT_BEHIND)]
        return super().get_deleted_objects(objs, request)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        # Seeing a platform's row is not seeing who changed it and what else they named.
        if row is not None and not access(request).may("view", self.area, ownership.owner_id(row)):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)

    def refuse_unless(self, right: Right, request: HttpRequest, rows: Iterable[Model]) -> None:
        """Raise, in actions, unless the person may do this to each of the chosen rows."""
        if not all(self.may(right, request, row) for row in rows):
            raise PermissionDenied

    def _home(self, request: HttpRequest) -> int | None:
        """Return the tenant of new rows, if a row names one and there is no choice."""
        if len(ownership.paths(self.model)[0]) != 1:
            return None
        tenants = access(request).tenants_where("add", self.area)
        return next(iter(tenants)) if len(tenants) == 1 else None

    def _hidden_fields(self, request: HttpRequest, row: Model | None) -> Sequence[str]:
        if row is None:  # what a row only gets once it is there, and what is not theirs to say
            home = () if self._home(request) is None else ("tenant",)
            return (*self.readonly_fields, *home)
        return () if self.resource is None else tuple(self.resource.hidden(access(request), row))


class TenantInline(Scoped, _TabularInline):
    """Rows of a model with a path to Tenant, on their parent's page; the parent says whose they are."""

    formset = TenantFormSet
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may("view", request, obj)

    def has_add_permission(  # type: ignore[override]  # Django itself asks inlines with the parent
        self, request: HttpRequest, obj: Model | None
    ) -> bool:
        return self.may("add", request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may("change", request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.may("delete", request, obj)

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        formset = super().get_formset(request, obj, **options)
        formset.access = access(request)  # type: ignore[attr-defined]  # a class of this request alone
        return formset


class TenantRelatedFilter(admin.RelatedFieldListFilter):
    """A filter by a related row that offers only rows the person may see."""

    def __init__(self, field: Any, *args: Any, **options: Any) -> None:
        super().__init__(field, *args, **options)
        if field.remote_field.model is Tenant:
            self.empty_value_display = SafeString(gettext("Platform"))

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, Any]]:
        if not isinstance(model_admin, TenantModelAdmin):
            raise TypeError(f"{type(model_admin).__name__} is not a TenantModelAdmin.")
        who, model = access(request), field.remote_field.model
        if model is Tenant and not who.sees_all_tenants:  # they came with the person's memberships
            seen = who.tenants_where("view", Area.TENANT)
            own = sorted((who.known[pk] for pk in seen), key=lambda each: each.slug)
            return [(str(tenant.pk), str(tenant)) for tenant in own]
        rows = model_admin.choices(model._default_manager.all(), request)
        return [(str(row.pk), str(row)) for row in rows]
