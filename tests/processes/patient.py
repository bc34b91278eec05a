"""Settings of a gateway that a Redis on a busy machine is never away for."""

from __future__ import annotations

from gateway_project.settings import *  # noqa: F403
from responses_api.cache import leases

leases.ROUND_TRIP_SECONDS = 60.0
