"""The sandbox upstream: a deterministic fake AI provider that speaks three vendors' protocols.

It serves a newcomer's first run without a provider key, the tests, and the benchmark. It knows
nothing of Django and nothing of the gateway: what it logs is the outside truth the gateway is
checked against.
"""

from routing.sandbox.faults import FAULTS, Fault
from routing.sandbox.log import Call
from routing.sandbox.reply import Scripted
from routing.sandbox.server import SandboxServer

__all__ = ["FAULTS", "Call", "Fault", "SandboxServer", "Scripted"]
