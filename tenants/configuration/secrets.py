"""Find the secrets that a file of configuration only names: in variables of the environment, or in files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.exceptions import ValidationError

from gateway_project.lib.env import CREDENTIAL_PREFIX, PREFIX, Env, SettingError, environment
from gateway_project.lib.secret import Secret

LITERAL = "A secret does not stand in the file; name where it is: {env: VARIABLE} or {file: PATH}."
MOST_BYTES = 100_000
_OF_THE_GATEWAY = frozenset({"DATABASE_URL", "REDIS_URL"})


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret by name. `secret` is None where it cannot be had, and `problem` says why."""

    secret: Secret | None
    problem: str = ""


class SecretSource(Protocol):
    """Something that finds secrets by reference."""

    def find(self, reference: Any) -> SecretReference:
        """Return the secret. Raise ValidationError for what is no reference."""


@dataclass(frozen=True, slots=True)
class NoSecrets:
    """Refuses every reference: for those who may not read this host's environment and files."""

    def find(self, reference: Any) -> SecretReference:
        raise ValidationError("Secrets of this host cannot be named here.")


@dataclass(frozen=True, slots=True)
class SecretsKept:
    """Finds no secret: for requests, which may name nothing of this host. What is stored stays."""

    def find(self, reference: Any) -> SecretReference:
        match reference:
            case {"env": str(name), **others} | {"file": str(name), **others} if (
                name and not others
            ):
                return SecretReference(
                    None,
                    "the API reads no secrets of the server; set them as `secret` of credentials",
                )
        raise ValidationError(LITERAL)


@dataclass(frozen=True, slots=True)
class SecretsOfHost:
    """Reads variables, and files whose paths are relative to the file of configuration."""

    folder: Path
    variables: Env = field(default=environment)

    def find(self, reference: Any) -> SecretReference:
        match reference:
            case {"env": str(name), **others} if not others and name:
                return self._variable(name)
            case {"file": str(path), **others} if not others and path:
                return self._file(path)
        raise ValidationError(LITERAL)

    def _variable(self, name: str) -> SecretReference:
        if _is_of_the_gateway(name):
            message = f"{name} is the gateway's own, and goes to no provider."
            raise ValidationError(
                f"{message} Variables here begin otherwise, or with {CREDENTIAL_PREFIX}."
            )
        try:
            found = self.variables.secret(name)
        except SettingError as error:
            raise ValidationError(str(error)) from None
        return SecretReference(found, "" if found else f"the variable {name} is not set")

    def _file(self, name: str) -> SecretReference:
        path = (self.folder / name).resolve()
        if any(path.is_relative_to(each) for each in _files_of_the_gateway()):
            raise ValidationError("Files of the gateway and of the system go to no provider.")
        try:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            text = content.decode().strip()
        except OSError as error:
            return SecretReference(None, f"{name!r} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            raise ValidationError(f"{name!r} is not text.") from None
        if not text or len(content) > MOST_BYTES:
            raise ValidationError(f"{name!r} is empty, or too large for a secret.")
        return SecretReference(Secret(text))


def _is_of_the_gateway(variable: str) -> bool:
    is_ours = variable.startswith(PREFIX) and not variable.startswith(CREDENTIAL_PREFIX)
    return is_ours or variable.removesuffix("_FILE") in _OF_THE_GATEWAY


def _files_of_the_gateway() -> list[Path]:
    """Return files and folders that hold the gateway's own secrets, or its variables."""
    named = [
        path
        for name, path in os.environ.items()
        if name.endswith("_FILE") and path and _is_of_the_gateway(name)
    ]
    folders = (str(settings.DATA_DIR), "/proc", "/dev")
    return [Path(each).resolve() for each in (*folders, *named)]
