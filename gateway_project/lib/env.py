"""Settings from the environment: typed, loud when wrong, `<NAME>_FILE` for secrets."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from gateway_project.lib import durations, hosts, rates
from gateway_project.lib.hosts import Network
from gateway_project.lib.otlp_endpoint import OtlpEndpoint, read_headers
from gateway_project.lib.rates import Rate
from gateway_project.lib.secret import Secret
from gateway_project.lib.syslog import SyslogAddress

T = TypeVar("T")

PREFIX = "TOLLGATE_"
# Read by clients and by the test suite, not by the settings.
NOT_SETTINGS = frozenset(
    {
        "TOLLGATE_API_KEY",
        "TOLLGATE_BASE_URL",
        "TOLLGATE_MODEL",
        "TOLLGATE_FAILING_MODEL",
        "TOLLGATE_TEST_DATABASE",
        "TOLLGATE_REQUIRE_SERVICES",
        "TOLLGATE_TIER",
        "TOLLGATE_SEED",
    }
)
# Secrets that a file of configuration names (tenants/configuration/secrets.py).
CREDENTIAL_PREFIX = "TOLLGATE_CREDENTIAL_"
NOT_SETTINGS_PREFIXES = ("TOLLGATE_TESTS_", CREDENTIAL_PREFIX)
REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
MAX_SECONDS = 1e9  # a life; what is larger overflows timers
_KUBERNETES = re.compile(
    r"TOLLGATE_(?:\w+_)?(?:(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(?:TCP|UDP)\w*)|PORT)\Z"
)
_MAIL_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+\Z")


class SettingError(ValueError):
    """An environment variable holds something unusable; the message names it and what is expected."""


class Env:
    """Typed access to a mapping of environment variables.

    An empty value counts as absent: that is how shells and compose files unset one.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._asked: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        self._asked.add(name)
        return self._variables.get(name) or default

    def unknown(self) -> list[str]:
        """Return one sentence for each variable that looks like one of our settings and was never read."""
        return [
            _unknown(name, self._asked)
            for name, value in sorted(self._variables.items())
            if value
            and name.startswith(PREFIX)
            and not name.startswith(NOT_SETTINGS_PREFIXES)
            and name not in self._asked | NOT_SETTINGS
            and not _is_kubernetes(name, value)
        ]

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

    def integer(self, name: str, default: int, *, at_least: int = 0, at_most: int = 2**53) -> int:
        return self._number(name, default, int, "a whole number", at_least, at_most)

    def port(self, name: str) -> int | None:
        """Read a port; None if none is set. In a pod beside a service of that name Kubernetes sets a URL."""
        if _is_kubernetes(name, self.text(name)):
            return None
        return self.integer(name, 0, at_least=1, at_most=65_535) or None

    def seconds(
        self, name: str, default: float, *, at_least: float = 0.0, at_most: float = MAX_SECONDS
    ) -> float:
        return self._number(name, default, float, "a number of seconds", at_least, at_most)

    def duration(self, name: str, default: str) -> timedelta:
        """Read a duration such as 24h; see durations.py."""
        try:
            return durations.parse(self.text(name, default))
        except durations.DurationError as error:
            raise SettingError(f"{name}: {error}") from error

    def rates(self, name: str, default: str = "", *, only: str = "") -> tuple[Rate, ...]:
        """Read rates such as 60 requests/minute, 20 concurrency; see rates.py. `only` names the one
        metric allowed.
        """
        try:
            found = rates.parse(self.text(name, default))
        except rates.RateError as error:
            raise SettingError(f"{name}: {error}") from error
        if only and any(rate.metric != only for rate in found):
            raise SettingError(f"{name} is {self.text(name)!r}; only {only} can be counted here.")
        return found

    def words(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """Read a comma-separated list."""
        value = self.text(name)
        return [word.strip() for word in value.split(",") if word.strip()] or list(default)

    def networks(self, name: str) -> list[Network]:
        """Read networks such as 10.0.0.0/8, 192.0.2.7."""
        return self._each(name, hosts.network, self.words(name))

    def host_names(self, name: str, default: tuple[str, ...]) -> list[str]:
        """Read names that a Host header may hold, such as gateway.example.com."""
        return self._each(name, hosts.host_name, self.words(name, default))

    def origins(self, name: str) -> list[str]:
        """Read origins such as https://gateway.example.com."""
        return self._each(name, hosts.origin, self.words(name))

    def origin(self, name: str) -> str | None:
        """Read one origin that is no pattern, such as https://gateway.example.com."""
        origins = self.origins(name)
        if len(origins) > 1 or any("*" in each for each in origins):
            raise SettingError(
                f"{name} is {self.text(name)!r}; expected one origin such as https://gateway.example.com."
            )
        return origins[0] if origins else None

    def mail_address(self, name: str, default: str) -> str:
        """Read an e-mail address such as tollgate@example.com, or Tollgate <tollgate@example.com>."""
        value = self.text(name, default)
        bare = value.rpartition("<")[2].removesuffix(">") if value.endswith(">") else value
        if not _MAIL_ADDRESS.match(bare) or "\n" in value or "\r" in value:
            raise SettingError(
                f"{name} is {value!r}; expected an address such as tollgate@example.com."
            )
        return value

    def syslog_address(self, name: str) -> SyslogAddress | None:
        value = self.text(name)
        try:
            return SyslogAddress.parse(value) if value else None
        except ValueError as error:
            raise SettingError(f"{name}: {error}.") from error

    def directory(self, name: str, default: Path, *, make: bool = False) -> Path:
        """Read a writable directory. If it does not exist it is created, now (`make`) or when it is first
        needed.
        """
        path = Path(self.text(name, str(default))).resolve()
        try:
            if make:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            nearest = next(place for place in (path, *path.parents) if os.path.lexists(place))
            if not nearest.is_dir():
                raise SettingError(f"{name}: {str(nearest)!r} is not a directory.")
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise SettingError(f"{name}: this process may not write to {str(nearest)!r}.")
        except OSError as error:
            raise SettingError(f"{name}: cannot use {str(path)!r}: {error.strerror}.") from error
        return path

    def redis_url(self, name: str) -> Secret | None:
        """Read a URL such as redis://:password@host:6379/0. Errors never quote it, because it may hold a
        password.
        """
        given = self.secret(name)
        if given is None:
            return None
        try:
            parts = urlsplit(given.reveal())
            if parts.scheme not in REDIS_SCHEMES or not (parts.netloc or parts.path.strip("/")):
                raise SettingError(
                    f"{name} must look like redis://host:6379/0 (or rediss://, unix://)."
                )
            number = parts.path.strip("/")
            if parts.port == 0 or (parts.scheme != "unix" and number and not number.isdecimal()):
                raise ValueError(number)
        except SettingError:
            raise
        except ValueError:
            raise SettingError(
                f"{name}: port and database must be numbers, as in redis://host:6379/0."
            ) from None
        return given

    def secret(self, name: str) -> Secret | None:
        """Return the value of NAME, or the content of the file that NAME_FILE names."""
        direct, file_name = self.text(name), self.text(f"{name}_FILE")
        if direct and file_name:
            raise SettingError(f"Both {name} and {name}_FILE are set; keep one of them.")
        if not file_name:
            return Secret(direct) if direct else None
        try:
            content = Path(file_name).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise SettingError(f"{name}_FILE: {file_name!r} is not text.") from None
        except OSError as error:
            raise SettingError(
                f"{name}_FILE: cannot read {file_name!r}: {error.strerror}."
            ) from error
        if not content:
            raise SettingError(f"{name}_FILE: {file_name!r} is empty.")
        return Secret(content)

    def otlp_endpoint(self, name: str, headers_name: str) -> OtlpEndpoint | None:
        """Read where an OTLP/HTTP collector is, such as http://collector:4318, and the headers it wants."""
        url, headers = self.text(name), self.secret(headers_name)
        try:
            known = read_headers(headers.reveal()) if headers is not None else {}
        except ValueError as error:
            raise SettingError(f"{headers_name}: {error}.") from None
        try:
            return OtlpEndpoint(url, known) if url else None
        except ValueError as error:
            raise SettingError(f"{name}: {error}.") from error

    def ratio(self, name: str, default: float) -> float:
        """Read a number from 0 to 1."""
        return self._number(name, default, float, "a number", 0.0, 1.0)

    def _each(self, name: str, parse: Callable[[str], T], words: Iterable[str]) -> list[T]:
        try:
            return [parse(word) for word in words]
        except ValueError as error:
            raise SettingError(f"{name}: {error}") from error

    def _number(
        self,
        name: str,
        default: T,
        parse: Callable[[str], T],
        expected: str,
        at_least: float,
        at_most: float,
    ) -> T:
        value = self.text(name)
        if not value:
            return default
        try:
            number = parse(value)
        except ValueError as error:
            raise SettingError(f"{name} is {value[:40]!r}; expected {expected}.") from error
        if not number >= at_least:  # type: ignore[operator]  # T is int or float; false for NaN, too
            raise SettingError(
                f"{name} is {value[:40]!r}; expected {expected} of at least {at_least}."
            )
        if number > at_most:  # type: ignore[operator]
            raise SettingError(
                f"{name} is {value[:40]!r}; expected {expected} of at most {at_most:.15g}."
            )
        return number


def _is_kubernetes(name: str, value: str) -> bool:
    """Tell whether Kubernetes set it, as it does in every pod beside a service called tollgate."""
    match = _KUBERNETES.match(name)
    return match is not None and (match[1] is not None or "://" in value)


def _unknown(name: str, known: Iterable[str]) -> str:
    ours = [other for other in known if other.startswith(PREFIX)]
    bare = name.removesuffix("_FILE")
    if bare != name and bare in ours:
        return f"{name} is not a setting; only secrets come from files: set {bare}."
    close = difflib.get_close_matches(name, ours, n=1, cutoff=0.8)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{name} is not a setting and changes nothing{hint or '.'}"


environment = Env(os.environ)
