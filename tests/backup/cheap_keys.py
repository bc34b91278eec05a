"""Settings with which keys are sealed at little cost: by intention that takes a third of a second.

The cost of the product test_checking.py finds in a file.
"""

from __future__ import annotations

from gateway_project.backup import keys_file
from gateway_project.settings import *  # noqa: F403

keys_file.COST = 2**10
