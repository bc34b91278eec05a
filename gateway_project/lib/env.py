"""Settings from the environment: typed, loud when wrong, `<NAME>_FILE` for secrets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from gateway_project.lib import durations, rates
from gateway_project.lib.rates import Rate
from gateway_project.lib.secret import Secret

T = TypeVar("T")


class SettingError(ValueError):
    """An environment variable holds something unusable; the message names it and what is expected."""


class Env:
    """Reads a mapping of environment variables.

    An empty value counts as absent: that is how shells and compose files unset one.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str = "") -> str:
        return self._variables.get(name) or default

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise SettingError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")
        return value

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self.text(name).lower()
        if not value:
            return default
        if value in {"1", "true", "yes", "on"}:
            return True
        if value in {"0", "false", "no", "off"}:
            return False
        raise SettingError(f"{name} is {value!r}; expected true or false.")

    def integer(self, name: str, default: int, *, at_least: int = 0) -> int:
        return self._number(name, default, int, "a whole number", at_least)

    def seconds(self, name: str, default: float, *, at_least: float = 0.0) -> float:
        return self._number(name, default, float, "a number of seconds", at_least)

    def duration(self, name: str, default: str) -> timedelta:
        """Such as 24h; durations.py."""
        try:
            return durations.parse(self.text(name, default))
        except durations.DurationError as error:
            raise SettingError(f"{name}: {error}") from error

    def rates(self, name: str, default: str = "", *, only: str = "") -> tuple[Rate, ...]:
        """Such as 60 requests/minute, 20 concurrency; rates.py. `only` names the one metric that can be."""
        try:
            found = rates.parse(self.text(name, default))
        except rates.RateError as error:
            raise SettingError(f"{name}: {error}") from error
        if only and any(rate.metric != only for rate in found):
            raise SettingError(f"{name} is {self.text(name)!r}; only {only} can be counted here.")
        return found

    def words(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """A comma-separated list."""
        value = self.text(name)
        return [word.strip() for word in value.split(",") if word.strip()] or list(default)

    def secret(self, name: str) -> Secret | None:
        """The value of NAME, or the content of the file that NAME_FILE points at."""
        direct, file_name = self.text(name), self.text(f"{name}_FILE")
        if direct and file_name:
            raise SettingError(f"Both {name} and {name}_FILE are set; keep one of them.")
        if not file_name:
            return Secret(direct) if direct else None
        try:
            content = Path(file_name).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingError(
                f"{name}_FILE: cannot read {file_name!r}: {error.strerror}."
            ) from error
        if not content:
            raise SettingError(f"{name}_FILE: {file_name!r} is empty.")
        return Secret(content)

    def _number(
        self, name: str, default: T, parse: Callable[[str], T], expected: str, at_least: float
    ) -> T:
        value = self.text(name)
        if not value:
            return default
        try:
            number = parse(value)
        except ValueError as error:
            raise SettingError(f"{name} is {value!r}; expected {expected}.") from error
        if not float(at_least) <= float(number) < float("inf"):  # type: ignore[arg-type]  # T is int or float
            raise SettingError(f"{name} is {value!r}; expected {expected} of at least {at_least}.")
        return number


environment = Env(os.environ)
