"""Hash the passwords of tests in one round: those that make it dear to guess them take half a second."""

from __future__ import annotations

from django.contrib.auth.hashers import PBKDF2PasswordHasher


def hash_quickly() -> None:
    """Let the hasher of the product do, in this process, what it does a million times once."""
    PBKDF2PasswordHasher.iterations = 1
