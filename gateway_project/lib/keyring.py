"""Hold named keys, newest first: the key peppers and the key-encryption keys.

A keyring's text form is `id:base64,id:base64`; the first key is used for new work, the others still open
what was made with them. It comes from an environment variable or lives in a file of the data directory,
which is generated on first use. A file may gain a key while workers run: looking up an unknown id reads
the file again, so that a rotation needs no restart.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from pathlib import Path

from gateway_project.lib import ids
from gateway_project.lib.secret import Secret

KEY_BYTES = 32
_KEY_ID = re.compile(r"[0-9A-Za-z_-]{1,16}\Z")


class KeyringError(ValueError):
    """The keyring's text is malformed, or a key that is needed is not in it."""


def parse(text: str, name: str) -> dict[str, bytes]:
    """Return the keys by id, in order; `name` (a variable or file) appears in errors only."""
    keys: dict[str, bytes] = {}
    for entry in filter(None, re.split(r"[\s,]+", text)):
        key_id, _, encoded = entry.partition(":")
        keys[_check_id(key_id, name, keys)] = _decode(encoded, key_id, name)
    if not keys:
        raise KeyringError(f"{name} holds no key; expected id:base64.")
    return keys


def _check_id(key_id: str, name: str, seen: dict[str, bytes]) -> str:
    if not _KEY_ID.match(key_id):
        raise KeyringError(f"{name}: a key id is 1-16 letters, digits, - or _.")
    if key_id in seen:
        raise KeyringError(f"{name}: the key id {key_id!r} appears twice.")
    return key_id


def _decode(encoded: str, key_id: str, name: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise KeyringError(f"{name}: the key {key_id!r} is not base64.") from error
    if len(key) != KEY_BYTES:
        raise KeyringError(f"{name}: the key {key_id!r} has {len(key)} bytes, not {KEY_BYTES}.")
    return key


class Keyring:
    """Keys by id. `read` returns the text form and is called again when an unknown id is requested."""

    def __init__(self, read: Callable[[], str], name: str) -> None:
        self._read = read
        self._name = name
        self._keys = parse(read(), name)

    @property
    def name(self) -> str:
        """Return the file or variable the keyring comes from."""
        return self._name

    def reload(self) -> None:
        self._keys = parse(self._read(), self._name)

    @property
    def current(self) -> tuple[str, bytes]:
        """Return the id and bytes of the key for new work."""
        return next(iter(self._keys.items()))

    def all(self) -> dict[str, bytes]:
        return dict(self._keys)

    def get(self, key_id: str) -> bytes:
        if key_id not in self._keys:
            self.reload()
        try:
            return self._keys[key_id]
        except KeyError:
            raise KeyringError(f"{self._name} has no key {key_id!r}.") from None

    def __repr__(self) -> str:
        return f"Keyring({self._name}: {', '.join(self._keys)})"


def from_environment(secret: Secret, name: str) -> Keyring:
    """Return a keyring given by the operator; we cannot extend it."""
    return Keyring(secret.reveal, name)


def from_file(path: Path) -> Keyring:
    """Return a keyring of the data directory, generating it with one key if it does not exist."""
    if not path.exists():
        create_private(path, new_entry("k1") + "\n")
    return Keyring(lambda: path.read_text(encoding="utf-8"), path.name)


def add_key(path: Path, key_id: str) -> None:
    """Add a new first key to a keyring file; the old keys stay readable."""
    text = new_entry(key_id) + "\n" + path.read_text(encoding="utf-8")
    parse(text, path.name)
    replacement = path.with_suffix(".new")
    replacement.unlink(missing_ok=True)
    create_private(replacement, text)
    replacement.replace(path)


def new_entry(key_id: str) -> str:
    return entry(key_id, ids.random_bytes(KEY_BYTES))


def entry(key_id: str, key: bytes) -> str:
    """Return a key in the text form."""
    return f"{key_id}:{base64.b64encode(key).decode()}"


def create_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read; if another process was first, keep its file.

    The complete content is linked into place, so that nobody ever reads half a key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, because two threads share a process id, and so may two containers on one volume.
    draft = path.with_name(f".{path.name}.{ids.base62(10)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
