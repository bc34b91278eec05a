"""Settings of the version after this one, as far as a migration needs them."""

from __future__ import annotations

from gateway_project.settings import *  # noqa: F403
from gateway_project.settings import INSTALLED_APPS

INSTALLED_APPS += ["tests.upgrade.expansion"]
