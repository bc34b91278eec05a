"""Console pages of providers, credentials, models and aliases."""

from __future__ import annotations

from routing.admin import aliases as aliases
from routing.admin import credentials as credentials
from routing.admin import keys as keys
from routing.admin import providers as providers
