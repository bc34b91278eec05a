"""How long a test waits on a busy machine, before it calls something late or lost."""

from __future__ import annotations

# How much longer than promised something may take before it is late.
NOISE_SECONDS = 2.0

# What has not come after so long never will.
GIVE_UP_SECONDS = 30.0
