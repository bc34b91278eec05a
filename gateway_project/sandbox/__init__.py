"""The sandbox upstream: a deterministic fake AI provider that speaks three vendors' protocols.

It serves a newcomer's first run without a provider key, the tests, and the benchmark. It knows
nothing of Django and nothing of the gateway: what it logs is the outside truth the gateway is
checked against.
"""

from gateway_project.sandbox.faults import FAULTS, Fault
from gateway_project.sandbox.log import LoggedCall
from gateway_project.sandbox.reply import Scripted
from gateway_project.sandbox.server import SandboxServer

__all__ = ["FAULTS", "Fault", "LoggedCall", "SandboxServer", "Scripted"]
