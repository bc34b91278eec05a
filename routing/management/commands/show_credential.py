"""show_credential: one credential in whole."""

from __future__ import annotations

from routing.api.catalogue import CredentialRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = CredentialRows
