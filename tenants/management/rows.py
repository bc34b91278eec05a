"""Make commands of rows: one each that lists, shows, adds, changes and removes them.

What rows there are and how they look the management API says (`ShownRows`), what may be written the
`Resource`; a command names the rows, and what differs from the usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.management import get_commands
from django.core.management.base import CommandParser
from django.db.models import Model

from gateway_project.lib import command_text
from gateway_project.lib.commands import AnsweringCommand, CommandResult, errors_as, errors_of
from gateway_project.lib.confirming import add_yes_option, confirm
from gateway_project.lib.secret import Secret
from tenants import directory, managed
from tenants.access import ownership
from tenants.access.access import OPERATOR
from tenants.api.shown import DEFAULT_LIMIT, ShownRows
from tenants.managed import naming
from tenants.management.row_filters import filter_value, option_of
from tenants.management.row_options import RowOption, options_of, values_of
from tenants.management.row_words import (
    called,
    in_lines,
    in_one_line,
    in_words,
    indented,
    owner_of,
    plain,
    shown_once,
    told_of_row,
)
from tenants.models import Tenant

MOST_ROWS = 1000
Json = dict[str, Any]


class RowsCommand(AnsweringCommand):
    """A command about the rows of one resource."""

    rows: ClassVar[type[ShownRows]]
    says: ClassVar[str]  # what it does, before what the rows are called
    verb: ClassVar[str]  # of the route that does the same

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "rows" in vars(cls) and "help" not in vars(cls):
            cls.help = cls.says.format(many=cls.rows.about, one=called(cls.rows))

    @property
    def view(self) -> ShownRows:
        return self.rows()

    @property
    def noun(self) -> str:
        """Return the last word of the command's name, which its argument is called."""
        return type(self).__module__.rpartition(".")[2].partition("_")[2]

    def add_tenant(self, parser: CommandParser, told: str) -> None:
        model = self.rows.resource.model
        if model is not Tenant and ownership.paths(model):
            parser.add_argument("--tenant", help=told)
        else:
            parser.set_defaults(tenant=None)

    def tell(self, row: Model, once: Json | None = None) -> Json:
        """Return a row as the API shows it, with the names of what it points at."""
        return told_of_row(self.view, row, once)


class OneRowCommand(RowsCommand):
    """A command about one row, which its argument names."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("row", metavar=self.noun.upper(), help=_told_of(self.rows))
        self.add_tenant(parser, "of this tenant; of the platform, or the only one, when not given")

    def find(self, options: Mapping[str, Any]) -> Any:
        """Return the row that the argument names. Raise ValidationError."""
        tenant = directory.tenant_or_platform(options["tenant"])
        with errors_of(self.noun):
            try:
                return naming.find(self.view.seen(OPERATOR), options["row"], tenant)
            except ValidationError as error:
                if self.rows.resource.named_by:  # then it says which there are
                    raise
                raise ValidationError([*error.messages, *self._where_listed()]) from error

    def _where_listed(self) -> list[str]:
        """Return where the ids of such rows are to be found, if a command lists them."""
        lists = {f"list_{self.noun}s", f"list_{self.noun[:-1]}ies"} & get_commands().keys()
        return [f"{name} lists their ids." for name in lists]

    def again(self, row: Model) -> Any:
        """Return the row as it is by now."""
        return self.view.one(OPERATOR, str(getattr(row, self.rows.resource.key)))


class ListRows(RowsCommand):
    """Lists rows, a page at a time."""

    says = "List {many}."
    verb = "list"
    columns: ClassVar[tuple[str, ...]] = ()  # of the table that people see, after the key

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        for name, condition in self.rows.filters.items():
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                dest=name,
                **option_of(self.rows.resource.model, name, condition),
            )
        parser.add_argument(
            "--limit",
            type=int,
            default=DEFAULT_LIMIT,
            metavar="N",
            help=f"at most so many, 1 to {MOST_ROWS}; {DEFAULT_LIMIT} by default",
        )
        parser.add_argument("--cursor", default="", help="go on after a page: its next_cursor")

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        if not 1 <= options["limit"] <= MOST_ROWS:
            raise ValidationError({"limit": f"Write a whole number between 1 and {MOST_ROWS}."})
        found = self.view.listed(
            OPERATOR,
            dict(self._asked(options)),
            cursor=options["cursor"],
            limit=options["limit"],
        )
        rows = self.view.in_list(found.rows, OPERATOR)
        names = naming.names_of_links(found.rows, rows[0] if rows else ())
        data = [plain({**row, "names": told}) for row, told in zip(rows, names, strict=True)]
        text = command_text.table(("id", *self.columns), [in_words(row) for row in data])
        if found.next_cursor:
            text += f"\nThere are more: --cursor {found.next_cursor}"
        shown = text if data else f"There are no {self.rows.about}."
        return CommandResult({"data": data, "next_cursor": found.next_cursor or None}, shown)

    def _asked(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the filters that were given, with what the API is asked for by them."""
        tenant = directory.tenant_or_platform(options.get("tenant"))
        for name, condition in self.rows.filters.items():
            if (text := options[name]) is not None:
                with errors_of(name):
                    yield name, filter_value(self.rows.resource.model, condition, text, tenant)


@dataclass(frozen=True, slots=True)
class ShownPart:
    """Something that is shown with a row on request."""

    name: str
    about: str
    tell: Callable[[Any], Any]


class ShowRow(OneRowCommand):
    """Shows one row."""

    says = "Show {one}."
    verb = "retrieve"
    parts: ClassVar[tuple[ShownPart, ...]] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        for part in self.parts:
            parser.add_argument(
                f"--{part.name.replace('_', '-')}",
                dest=part.name,
                action="store_true",
                help=part.about,
            )

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        found = self.find(options)
        row = self.view.opened(OPERATOR, str(getattr(found, self.rows.resource.key)))
        told = self.tell(row)
        parts = {each.name: plain(each.tell(row)) for each in self.parts if options[each.name]}
        texts = [in_lines(told), *(f"{name}:\n{indented(part)}" for name, part in parts.items())]
        return CommandResult({**told, **parts}, "\n".join(texts))


class ValuesOfRow(RowsCommand):
    """Writes values that are given as options."""

    told: ClassVar[Mapping[str, str]] = {}  # helps of options, where the models say too little
    without: ClassVar[frozenset[str]] = frozenset()  # fields that are not written here
    beside: ClassVar[
        tuple[str, ...]
    ] = ()  # fields that are, although the resource does not name them
    is_new: ClassVar[bool]

    def options(self) -> Sequence[RowOption]:
        every = options_of(self.rows, is_new=self.is_new, beside=self.beside)
        return [each for each in every if each.name not in self.without]

    def add_values(self, parser: CommandParser) -> None:
        for option in self.options():
            option.add_to(parser, self.told.get(option.name))

    def values(self, options: Mapping[str, Any], tenant: Tenant | None) -> Json:
        """Return what is to be written. Raise ValidationError that names every wrong option."""
        return values_of(self.options(), options, tenant)

    def named_as_options(self) -> AbstractContextManager[None]:
        """Return a block in which errors name options in place of fields."""
        return errors_as({option.name: option.label for option in self.options()})


class AddRow(ValuesOfRow):
    """Makes a row."""

    says = "Add {one}."
    verb = "create"
    is_new = True

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        self.add_tenant(parser, _owner_of_new(self.rows.resource.model))
        self.add_values(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        tenant = directory.tenant_or_platform(options["tenant"])
        values = self.values(options, tenant)
        if "tenant" in self.rows.resource.fields:
            values["tenant"] = tenant
        with self.named_as_options():
            made = self.view.make(OPERATOR, self.view.completed(values))
        row = self.view.one(OPERATOR, str(getattr(made.row, self.rows.resource.key)))
        once, text = ({}, "") if made.secret is None else shown_once(row, made.secret)
        return CommandResult(self.tell(row, once), f"Added {in_one_line(row)}. {text}".rstrip())


class SetRow(ValuesOfRow, OneRowCommand):
    """Changes a row: what is not named stays."""

    says = "Change {one}. What no option names stays as it is."
    verb = "partial_update"
    is_new = False

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        self.add_values(parser)

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row = self.find(options)
        values = self.values(options, owner_of(row))
        if not values:
            raise ValidationError("Nothing to change was named; --help lists what there is.")
        with self.named_as_options():
            self.view.alter(OPERATOR, row, self.view.completed(values))
        row = self.again(row)
        told = self.tell(row)
        return CommandResult(told, f"Changed {in_one_line(row)}.\n{in_lines(told)}")


class RemoveRow(OneRowCommand):
    """Removes a row."""

    says = "Remove {one}. It asks first; a tenant's is named by --tenant, or by its id."
    verb = "destroy"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_yes_option(parser)

    def find(self, options: Mapping[str, Any]) -> Any:
        """Return the row that is meant, and none that has the name by chance in some tenant."""
        row = super().find(options)
        key, owner = getattr(row, self.rows.resource.key), owner_of(row)
        if owner is not None and options["tenant"] is None and options["row"] != str(key):
            message = f"{in_one_line(row)} is meant? Say --tenant {owner.slug}, or its id, {key}."
            raise ValidationError({self.noun: message[0].upper() + message[1:]})
        return row

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row = self.find(options)
        owner = owner_of(row)
        fields = {
            "id": getattr(row, self.rows.resource.key),
            "name": naming.name_of(row),
            "tenant": owner and owner.slug,
        }
        text = in_one_line(row)
        confirm(f"remove {text}", options)
        managed.remove(OPERATOR, row)
        return CommandResult(plain(fields), f"Removed {text}.")


class ActOnRow(OneRowCommand):
    """Does something to one row, and shows it as it is then."""

    def act(self, row: Any, options: Mapping[str, Any]) -> Secret | None:
        """Do it. Return the new secret of the row, if it has one now."""
        raise NotImplementedError

    def answer(self, options: Mapping[str, Any]) -> CommandResult:
        row = self.find(options)
        secret = self.act(row, options)
        row = self.again(row)
        once, text = ({}, "") if secret is None else shown_once(row, secret)
        told = self.tell(row, once)
        return CommandResult(told, text or in_lines(told))


def _told_of(rows: type[ShownRows]) -> str:
    """Return how a row of this kind is named."""
    resource = rows.resource
    names = " and ".join(_word(column) for column in resource.named_by)
    key = "public id" if resource.key != "pk" else "id"
    slashed = names.replace(" and ", "/")
    return f"its {slashed} or {key}" if names else f"its {key}"


def _word(column: str) -> str:
    return column.replace("__", " ").removesuffix(" name").removeprefix("user ").replace("_", " ")


def _owner_of_new(model: type[Model]) -> str:
    path = ownership.paths(model)[0] if ownership.paths(model) else ()
    if path and len(path) == 1 and not path[0].null:
        return "whose it is: a tenant's slug or name"
    if len(path) > 1:
        return "where names are looked up first: a tenant's slug or name"
    return "only for this tenant; every tenant when not given"
