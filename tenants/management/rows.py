"""Make commands of rows: one each that lists, shows, adds, changes and removes them.

What rows there are and how they look the management API says (`ShownRows`), what may be written the
`Resource`; a command names the rows, and what differs from the usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from django.core.exceptions import ValidationError
from django.core.management import get_commands
from django.core.management.base import CommandParser
from django.db.models import BooleanField, ForeignKey, Model

from gateway_project.lib import command_text
from gateway_project.lib.commands import AnsweringCommand, CommandResult, errors_as, errors_of
from gateway_project.lib.confirming import add_yes_option, confirm
from gateway_project.lib.secret import Secret
from tenants import directory, managed
from tenants.access import ownership
from tenants.access.access import OPERATOR
from tenants.api.shown import DEFAULT_LIMIT, ShownRows, filtered_field, note_secret
from tenants.managed import naming, typed
from tenants.management.row_options import RowOption, options_of, values_of
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
                **_of_filter(self.rows.resource.model, name, condition),
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
        rows = [self.view.represented(row, OPERATOR, in_list=True) for row in found.rows]
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
                    yield name, _filter_value(self.rows.resource.model, condition, text, tenant)


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
        texts = [in_lines(told), *(f"{name}:\n{_indented(part)}" for name, part in parts.items())]
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
        once, text = ({}, "") if made.secret is None else _shown_once(row, made.secret)
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
        once, text = ({}, "") if secret is None else _shown_once(row, secret)
        told = self.tell(row, once)
        return CommandResult(told, text or in_lines(told))


def told_of_row(view: ShownRows, row: Model, once: Json | None = None) -> Json:
    """Return a row as the API shows it, with the names of what it points at."""
    shown = {**view.represented(row, OPERATOR), **(once or {})}
    told: Json = plain({**shown, "names": naming.names_of_links([row], shown)[0]})
    return told


def called(rows: type[ShownRows]) -> str:
    """Return what one of the rows is called, with its article."""
    word = str(rows.resource.model._meta.verbose_name)
    return f"{'an' if word[0] in 'aeioA' else 'a'} {word}"


def plain(value: Any) -> Any:
    """Return what JSON can hold, as the API would send it."""
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS))


def in_words(told: Mapping[str, Any], *, in_full: bool = False) -> dict[str, str]:
    """Return the fields of a row as people read them: names in place of ids, or (in full) beside them."""
    names = told.get("names", {})
    found = {}
    for name, value in told.items():
        if name == "names":
            continue
        text = command_text.cell(name, value)
        if (known := names.get(name)) is not None:
            beside = in_full or name in {"api_key", "key", "key_public_id"}
            text = f"{known} ({text})" if beside else known
        found[name] = text
    return found


def in_lines(told: Mapping[str, Any]) -> str:
    """Return a row line by line, with names beside ids and lists of objects as tables."""
    words = in_words(told, in_full=True)
    return told_in_lines(
        {name: told[name] if _is_deep(told[name]) else word for name, word in words.items()}
    )


def flat(row: Mapping[str, Any]) -> Json:
    """Return the fields of a row, with those of objects within it beside them."""
    found: Json = {}
    for name, value in row.items():
        found |= value if isinstance(value, dict) and name != "names" and value else {name: value}
    return found


def in_one_line(row: Model) -> str:
    """Return what a row is and whose, as the end of a sentence."""
    what = str(row._meta.verbose_name)
    name = naming.name_of(row) or str(row)
    owner = owner_of(row)
    return f"the {what} {name!r}{'' if owner is None else f' of tenant {owner.slug!r}'}"


def _shown_once(row: Model, secret: Secret) -> tuple[Json, str]:
    """Return what is shown this once of a row: fields, and words."""
    note_secret(row)
    text = secret.reveal()
    return {"secret": text}, f"Its secret, shown only once:\n  {text}"


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


def owner_of(row: Model) -> Tenant | None:
    """Return the tenant whose row it is; None for the platform's, and for a tenant itself."""
    has_owner = not isinstance(row, Tenant) and ownership.paths(type(row))
    owner = ownership.owner_id(row) if has_owner else None
    return None if owner is None else Tenant.objects.get(pk=owner)


def _of_filter(model: type[Model], name: str, condition: str) -> dict[str, Any]:
    """Return how the parser is told of a filter."""
    if name == "tenant":
        return {"help": "only those of this tenant: its slug or name"}
    field = filtered_field(model, condition)
    if condition.endswith(("__gte", "__lt")):
        which = "from then on" if condition.endswith("__gte") else "before then"
        return {
            "metavar": "INSTANT",
            "help": f"{which}: an instant, a date (UTC), or so long ago: 24h",
        }
    if isinstance(field, BooleanField):
        return {"choices": ("true", "false"), "help": "only those of which this holds"}
    if field.choices:
        return {"choices": [value for value, _ in field.flatchoices if value], "help": "only such"}
    linked = _linked(model, condition)
    what = name.replace("_", " ") if linked is None else str(linked._meta.verbose_name)
    how = "" if linked is None else ", by name or id"
    return {"metavar": name.upper(), "help": f"only those of this {what}{how}"}


def _linked(model: type[Model], condition: str) -> type[Model] | None:
    """Return the kind of row that a filter names; None if it compares a value of its own."""
    field = model._meta.get_field(condition.split("__", maxsplit=1)[0])
    return field.remote_field.model if isinstance(field, ForeignKey) else None


def _filter_value(model: type[Model], condition: str, text: str, tenant: Tenant | None) -> str:
    """Return what the API is asked for: ids in place of names, instants in place of spans."""
    if condition.endswith(("__gte", "__lt")):
        return str(typed.instant(text, is_past=True).isoformat())
    if condition.rsplit("__", maxsplit=1)[-1] == "tenant":
        return str(directory.tenant(text).pk)
    linked = _linked(model, condition)
    if linked is None:
        return text
    row = naming.find_link(OPERATOR, linked, text, tenant)
    return str(getattr(row, condition.partition("__")[2] or "pk"))


def _indented(part: Any) -> str:
    if isinstance(part, dict) and isinstance(part.get("data"), list):
        rows = [in_words(flat(row)) for row in part["data"]]
        text = command_text.table(tuple(rows[0]), rows) if rows else "none"
    else:
        text = told_in_lines(in_words(part) if "names" in part else part)
    return "\n".join(f"  {line}" for line in text.splitlines())


def told_in_lines(told: Mapping[str, Any]) -> str:
    """Return fields line by line; objects and lists of them below their names."""
    lines = []
    for name, value in told.items():
        if not _is_deep(value):
            lines.append(command_text.fields({name: command_text.cell(name, value)}))
        else:
            data = {"data": value} if isinstance(value, list) else value
            lines.append(f"{name}:\n{_indented(data)}")
    return "\n".join(lines)


def _is_deep(value: Any) -> bool:
    """Tell whether a value is an object with fields, or a list of such."""
    is_list = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return bool(value) and (is_list or isinstance(value, dict))
