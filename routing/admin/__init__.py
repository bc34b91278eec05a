"""Console pages of providers, credentials, models and aliases."""

from __future__ import annotations

from routing.admin import aliases as aliases
from routing.admin import credentials as credentials
from routing.admin import first_request as first_request
from routing.admin import keys as keys
from routing.admin import price as price
from routing.admin import price_lists as price_lists
from routing.admin import prices as prices
from routing.admin import providers as providers
from routing.admin import rerating as rerating
from routing.admin import setup as setup
