"""From an empty data directory to a gateway that answers: migrate, seed, hand out the first access.

What was handed out is kept in `quickstart.json` of the data directory (0600), because the database holds
neither the key nor the password. Later runs answer from that file and change nothing but what follows
the environment: vendors' keys and the sandbox's port.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from gateway_project import migrating
from gateway_project.lib import ids, keyring
from gateway_project.lib.public_address import LOCAL, api_url
from gateway_project.lib.secret import Secret
from responses_api.resources import codex_profile
from routing import seed
from routing.models import Alias
from tenants.keys import keys
from tenants.members import console_address
from tenants.models import ApiKey, Tenant

DEFAULT_BASE_URL = f"{LOCAL}/v1"
TENANT_SLUG = "default"
USERNAME = "operator"
KEY_NAME = "quickstart"
PASSWORD_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Quickstart:
    """Everything a newcomer needs. `reissued`: the file was lost, so key and password are new."""

    base_url: str
    api_key: Secret
    username: str
    password: Secret
    models: tuple[str, ...]
    first_boot: bool = False
    reissued: bool = False

    @property
    def console_url(self) -> str:
        parts = urlsplit(self.base_url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if settings.PUBLIC_URL:
            origin = console_address.of(otherwise=origin)
        return f"{origin}/console/"

    def as_json(self) -> dict[str, Any]:
        """Return it with the secrets in the clear: for the file and the command's own output only."""
        return {
            "base_url": self.base_url,
            "api_key": self.api_key.reveal(),
            "console_url": self.console_url,
            "username": self.username,
            "password": self.password.reveal(),
            "models": list(self.models),
        }


@dataclass(frozen=True, slots=True)
class _Access:
    """The secrets, which exist nowhere else."""

    base_url: str
    api_key: Secret
    password: Secret


def ensure(base_url: str | None = None) -> Quickstart:
    """Migrate, seed and return the access. Without a base URL it is the public one, else the last run's.

    1. Migrate, if anything is pending.
    2. Add what is new in the environment, and the sandbox.
    3. Take key and password from the file, or make them if there is none for this database.
    """
    if base_url is None and settings.API_ORIGIN:
        base_url = api_url()
    wanted = None if base_url is None else normal_base_url(base_url)
    with _only_one_at_a_time():
        migrating.migrate()
        is_new = not Tenant.objects.exists()
        seed.seed_sandbox(settings.SANDBOX_PORT)
        seed.seed_from_environment(os.environ)
        kept = _load()
        access = kept or _issue()
        quickstart = Quickstart(
            base_url=wanted or access.base_url,
            api_key=access.api_key,
            username=USERNAME,
            password=access.password,
            models=_models(),
            first_boot=is_new,
            reissued=kept is None and not is_new,
        )
        _save(quickstart)
        return quickstart


def is_first() -> bool:
    """Tell whether nothing was handed out yet, so that what follows takes a while."""
    return not path().exists()


def normal_base_url(text: str) -> str:
    """Strip the trailing slash; add /v1 to a bare host. Raise ValidationError."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        message = f"{text!r} is not an http(s) address; write it like {DEFAULT_BASE_URL}."
        raise ValidationError({"base-url": message})
    path = parts.path.rstrip("/") or "/v1"
    return codex_profile.gateway_url(f"{parts.scheme}://{parts.netloc}{path}")


def _models() -> tuple[str, ...]:
    """Return the models the quickstart key may use, oldest first, so that the sandbox leads."""
    usable = Alias.objects.filter(Q(tenant=None) | Q(tenant__slug=TENANT_SLUG), enabled=True)
    names = usable.order_by("pk").values_list("name", flat=True)
    return tuple(dict.fromkeys(names))


@transaction.atomic
def _issue() -> _Access:
    """Issue a new key and operator password, creating tenant and user if they do not exist."""
    password = Secret(ids.base62(PASSWORD_LENGTH))
    user_model = get_user_model()
    user = user_model.objects.filter(username=USERNAME).first()
    if user is None:
        user_model.objects.create_superuser(USERNAME, password=password.reveal())
    else:
        user.set_password(password.reveal())
        user.save(update_fields=["password"])
    tenant, _ = Tenant.objects.get_or_create(slug=TENANT_SLUG, defaults={"name": "Default"})
    _, api_key = keys.create(tenant, KEY_NAME)
    return _Access(DEFAULT_BASE_URL, api_key, password)


def path() -> Path:
    """Return where the file is."""
    found: Path = settings.DATA_DIR / "quickstart.json"
    return found


def _load() -> _Access | None:
    """Read the file; None if it does not exist or belongs to another database."""
    match _content():
        case {"base_url": str(url), "api_key": str(api_key), "password": str(password)}:
            public_id = api_key.removeprefix("tg_live_").partition("_")[0]
            if ApiKey.objects.filter(public_id=public_id).exists():
                return _Access(url, Secret(api_key), Secret(password))
    return None


def _content() -> Any:
    try:
        return json.loads(path().read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _save(quickstart: Quickstart) -> None:
    """Write the file if it would change; readers see the old one or the new one, never half of it."""
    content = quickstart.as_json()
    if _content() == content:
        return
    draft = path().with_suffix(".new")
    draft.unlink(missing_ok=True)
    keyring.create_private(draft, json.dumps(content, indent=2) + "\n")
    draft.replace(path())


@contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    """Hold a lock: two first boots at once would hand out two passwords of which one works."""
    with (settings.DATA_DIR / ".quickstart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def announce(quickstart: Quickstart) -> str:
    """Return the text printed once for a person: where to go, how to sign in, calls to copy."""
    profile = codex_profile.profile("sandbox-responses", quickstart.base_url)
    return _TEXT.format(
        headline=_headline(quickstart),
        console_url=quickstart.console_url,
        username=quickstart.username,
        password=quickstart.password.reveal(),
        base_url=quickstart.base_url,
        api_key=quickstart.api_key.reveal(),
        models=", ".join(quickstart.models),
        env_key=profile.env_key,
        config_path=profile.config_path,
        config_toml=profile.config_toml,
        profile_path=profile.profile_path,
        profile_toml=profile.profile_toml,
        command=profile.command,
        file=path(),
    )


def _headline(quickstart: Quickstart) -> str:
    if quickstart.reissued:
        return (
            f"{path().name} was lost, so the operator has a NEW PASSWORD and there is a NEW KEY; "
            "earlier keys keep working until you revoke them."
        )
    return "Tollgate is ready."


_TEXT = """\
{headline}

  Console    {console_url}
  Operator   {username}
  Password   {password}

  Base URL   {base_url}
  API key    {api_key}
  Models     {models}

Kept in {file} (only you can read it).

The sandbox answers without any provider key. Copy and paste:

  export {env_key}='{api_key}'

# Chat Completions
  curl -s {base_url}/chat/completions -H "Authorization: Bearer ${env_key}" \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "sandbox-chat", "messages": [{{"role": "user", "content": "Hello"}}]}}'

# Responses, streamed
  curl -sN {base_url}/responses -H "Authorization: Bearer ${env_key}" \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "sandbox-responses", "input": "Hello", "stream": true}}'

# OpenAI Python
  from openai import OpenAI
  client = OpenAI(base_url="{base_url}", api_key="{api_key}")
  print(client.responses.create(model="sandbox-responses", input="Hello").output_text)

# Codex: add to {config_path}
{config_toml}
# Codex: a file of its own, {profile_path}
{profile_toml}
  {command}
"""
