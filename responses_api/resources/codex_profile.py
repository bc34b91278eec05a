"""Write the two files that make Codex call this gateway.

Codex refuses a `[profiles.x]` table in config.toml together with `--profile x`: the provider stands in
config.toml, the profile in a file of its own. The provider must not be called OpenAI, because that name turns
on features only OpenAI's servers have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

PROFILE = "tollgate"
PROVIDER = "tollgate"
ENV_KEY = "TOLLGATE_API_KEY"
CONFIG_PATH = "~/.codex/config.toml"
PROFILE_PATH = f"~/.codex/{PROFILE}.config.toml"


@dataclass(frozen=True, slots=True)
class CodexProfile:
    """Both files with their places, the variable that holds the key, and how to start."""

    config_path: str
    config_toml: str
    profile_path: str
    profile_toml: str
    env_key: str
    command: str

    def in_words(self) -> str:
        """Return the instructions and both files as text to copy from."""
        return "\n".join(
            (
                f"# {self.config_path} (add this part)",
                self.config_toml,
                f"# {self.profile_path} (a file of its own)",
                self.profile_toml,
                f"# then, with a key of this gateway in {self.env_key}:",
                self.command,
            )
        )


def profile(alias: str, base_url: str, *, websockets: bool = False) -> CodexProfile:
    """Build the files with this alias as the model; `base_url` includes /v1. Raise ValidationError.

    Over WebSockets Codex sends only what is new in each step instead of the whole conversation.
    """
    base_url = gateway_url(base_url)
    config = (
        f"[model_providers.{PROVIDER}]\n"
        'name = "Tollgate"\n'
        f"base_url = {_toml(base_url)}\n"
        f"env_key = {_toml(ENV_KEY)}\n"
        'wire_api = "responses"\n' + ("supports_websockets = true\n" if websockets else "")
    )
    return CodexProfile(
        config_path=CONFIG_PATH,
        config_toml=config,
        profile_path=PROFILE_PATH,
        profile_toml=f"model_provider = {_toml(PROVIDER)}\nmodel = {_toml(alias)}\n",
        env_key=ENV_KEY,
        command=f'codex exec --profile {PROFILE} "Say hello"',
    )


def gateway_url(text: str) -> str:
    """Return this gateway's base URL as clients write it, without a slash at the end. Raise
    ValidationError."""
    url = text.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise ValidationError({"base-url": f"{url!r} is not an http(s) address."})
    if not url.endswith("/v1"):
        raise ValidationError({"base-url": f"{url!r} does not end in /v1; give {url + '/v1'!r}."})
    return url


def _toml(text: str) -> str:
    """Write a TOML basic string; JSON's escapes are a subset of its own."""
    return json.dumps(text, ensure_ascii=False)
