"""Rows a test needs, put into the tables as a fixture is loaded; each function in one transaction.

No event tells of them, and each function raises the revision once: made through what the product uses,
they took longer than most tests they are for. Tests of how rows are made, and recorded, make their own.

A provider or an alias replaces one of the same name, so that the cases of a test need no names of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connection, models, transaction
from django.db.models.expressions import DatabaseDefault

from gateway_project.lib.keyring import Keyring
from gateway_project.lib.prepared import PreparedQuery
from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Alias, Provider, ProviderModel, Target
from tenants import revision
from tenants.budgets import zones
from tenants.keys import fingerprints, key_format, peppers
from tenants.models import ApiKey, KeyFingerprint, KeySecret, Tenant

M = TypeVar("M", bound=models.Model)

PROTOCOLS = ("chat", "responses", "anthropic")


@dataclass(frozen=True, slots=True)
class Customer:
    """A tenant with one key; `secret` is the key's text."""

    tenant: Tenant
    key: ApiKey
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"}


def insert(rows: Iterable[M]) -> list[M]:
    """Write new rows of one model, past what tells of them."""
    rows = list(rows)
    for row in rows:
        _insert(row)
    return rows


def _written(row: models.Model) -> dict[str, Any]:
    """Return what is written of a row, by field: not its id, nor what the database has a default for."""
    written = {}
    for field in row._meta.local_concrete_fields:
        value = field.pre_save(row, add=True)
        if not isinstance(value, DatabaseDefault) and not (field.primary_key and value is None):
            written[field.attname] = field.get_db_prep_save(value, connection)
    return written


def _statement(model: type[models.Model], names: Iterable[str], returned: Iterable[Any]) -> str:
    columns = [_field(model, name).column for name in names]
    places = ", ".join(["%s"] * len(columns))
    into = ", ".join(f'"{column}"' for column in columns)
    statement = f'INSERT INTO "{model._meta.db_table}" ({into}) VALUES ({places})'
    back = ", ".join(f'"{field.column}"' for field in returned)
    return f"{statement} RETURNING {back}" if back else statement


def _insert(row: models.Model) -> None:
    """Write one row as `bulk_create` does, without building a query, which took longer than to run it."""
    written = _written(row)
    returned = row._meta.db_returning_fields  # ids, and what the database has defaults for
    statement = _statement(type(row), written, returned)
    with connection.cursor() as cursor:
        cursor.execute(statement, list(written.values()))
        if returned:
            for field, value in zip(returned, cursor.fetchone(), strict=True):
                setattr(row, field.attname, field.to_python(value))
    row._state.adding, row._state.db = False, connection.alias


@dataclass(frozen=True, slots=True)
class Stencil:
    """A row as the database is given it, but for what is another in each test: links to other rows, and
    what a default computes anew, such as a moment."""

    statement: str
    written: Mapping[str, Any]
    computed: Mapping[str, Callable[[], Any]]

    @classmethod
    def of(cls, row: models.Model, given: Iterable[str]) -> Stencil:
        written = _written(row)
        fields = [_field(type(row), name) for name in written if name not in given]
        return cls(
            _statement(type(row), written, [row._meta.pk]),
            written,
            {each.attname: _default_of(each) for each in fields if _is_computed(each)},
        )

    def write(self, links: Mapping[str, Any]) -> int:
        """Return the id of a new row."""
        changed = {name: compute() for name, compute in self.computed.items()}
        with connection.cursor() as cursor:
            cursor.execute(self.statement, list({**self.written, **changed, **links}.values()))
            return int(cursor.fetchone()[0])


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def _is_computed(field: Any) -> bool:
    return field.has_default() and callable(field.default) and field.default not in {dict, list}


def _default_of(field: Any) -> Callable[[], Any]:
    return lambda: field.get_db_prep_save(field.default(), connection)


_stencils: dict[Any, Stencil] = {}


def write(model: type[models.Model], links: Mapping[str, Any], **fields: Any) -> int:
    """Write a row that many tests have, and return its id. `links` are values as the database takes them.

    Django makes and prepares only the first with these fields: to do so took longer than all else that is
    done for a test.
    """
    key = (model, tuple(links), tuple(fields.items()))
    if (stencil := _stencils.get(key)) is None:
        stencil = _stencils[key] = Stencil.of(model(**links, **fields), {*links, *fields})
    return stencil.write(links)


@transaction.atomic
def customer(slug: str = "acme", **tenant_fields: Any) -> Customer:
    fields = {"slug": slug, "name": slug.title(), **tenant_fields}
    tenant = Tenant(**fields, zone_switches=zones.unchanged(fields.get("time_zone", "UTC")))
    insert([tenant])
    (key,) = insert([ApiKey(tenant=tenant, name="test")])
    return Customer(tenant, key, _key_secret(key).reveal())


def _key_secret(key: ApiKey) -> Secret:
    ring = peppers.keyring()
    _confirm(ring)
    secret = key_format.new_key(key.public_id)
    links = {"api_key_id": key.pk, "digest": peppers.digest(secret), "last_four": secret.last_four}
    write(KeySecret, links, pepper_id=ring.current[0])
    revision.bump()
    return secret


def _confirm(ring: Keyring) -> None:
    """Do what a new key begins with: note the peppers, of which an empty database knows none."""
    kind = fingerprints.PEPPER
    if any(_FINGERPRINTS.rows(kind)):
        fingerprints.confirm(kind, ring)
        return
    for key_id, digest in fingerprints.digests(kind, ring.all()).items():
        write(KeyFingerprint, {}, kind=kind, key_id=key_id, digest=digest)


_FINGERPRINTS = PreparedQuery(lambda kind: KeyFingerprint.objects.filter(kind=kind))
_PROVIDERS = PreparedQuery(lambda name, tenant: Provider.objects.filter(name=name, tenant=tenant))
_NAMED = PreparedQuery(lambda names: Provider.objects.filter(name__in=names, tenant=None))
_ALIASES = PreparedQuery(lambda name, tenant: Alias.objects.filter(name=name, tenant=tenant))
_MODELS = PreparedQuery(
    lambda provider, upstream_id: ProviderModel.objects.filter(
        provider=provider, upstream_id=upstream_id
    )
)


def _id_of(row: models.Model | None) -> int | None:
    return None if row is None else row.pk


@transaction.atomic
def provider(
    protocol: str, base_url: str, name: str = "", secret: str = "", **fields: Any
) -> Provider:
    """A provider on this machine; without a secret it wants none."""
    fields.setdefault("allow_private_network", True)
    fields.setdefault("auth_kind", "bearer" if secret else "none")
    name = name or f"sandbox-{protocol}"
    for former in _PROVIDERS.rows(name, _id_of(fields.get("tenant"))):
        Target.objects.filter(provider_model__provider=former).delete()
        former.delete()
    (row,) = insert([Provider(name=name, protocol=protocol, base_url=base_url, **fields)])
    revision.bump()
    if secret:
        credentials.create(row, Secret(secret), tenant=row.tenant)
    return row


@transaction.atomic
def alias(name: str, *targets: tuple[Provider, str], **fields: Any) -> Alias:
    """An alias over (provider, upstream model) pairs, in order of preference. It waits for no lane."""
    fields.setdefault("wait_seconds", 0)
    for former in _ALIASES.rows(name, _id_of(fields.get("tenant"))):
        former.delete()
    (row,) = insert([Alias(name=name, **fields)])
    for position, (of, upstream_id) in enumerate(targets):
        model = next(iter(_MODELS.rows(of.pk, upstream_id)), None)
        if model is None:
            (model,) = insert([ProviderModel(provider=of, upstream_id=upstream_id)])
        insert([Target(alias=row, provider_model=model, position=position)])
    revision.bump()
    return row


@transaction.atomic
def one_alias(name: str, protocol: str, base_url: str, upstream_id: str) -> None:
    """Let this alias have this only target. Where it has one already nothing is deleted, which takes longer
    than a call: for the many cases of a test that each have a target of their own.
    """
    former = Provider.objects.filter(name=f"sandbox-{protocol}", tenant=None, base_url=base_url)
    known = Alias.objects.filter(name=name, tenant=None).first()
    of = former.first() or provider(protocol, base_url)
    if known is None or known.targets.count() != 1:
        alias(name, (of, upstream_id))
        return
    model = next(iter(_MODELS.rows(of.pk, upstream_id)), None)
    if model is None:
        (model,) = insert([ProviderModel(provider=of, upstream_id=upstream_id)])
    known.targets.update(provider_model=model)
    revision.bump()


@transaction.atomic
def sandbox_aliases(base_url: str) -> None:
    """`sandbox-chat`, `sandbox-responses` and `sandbox-anthropic` for everybody.

    Almost every test has them: where they are new they are written together.
    """
    names = [f"sandbox-{protocol}" for protocol in PROTOCOLS]
    if _NAMED.rows(tuple(names)):
        for protocol, name in zip(PROTOCOLS, names, strict=True):
            alias(name, (provider(protocol, base_url), "sandbox-1"))
        return
    local = {"base_url": base_url, "allow_private_network": True, "auth_kind": "none"}
    for protocol, name in zip(PROTOCOLS, names, strict=True):
        of = write(Provider, {}, name=name, protocol=protocol, **local)
        model = write(ProviderModel, {"provider_id": of}, upstream_id="sandbox-1")
        row = write(Alias, {}, name=name, wait_seconds=0)
        write(Target, {"alias_id": row, "provider_model_id": model}, position=0)
    revision.bump()
