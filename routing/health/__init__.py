"""Keep the health of lanes: what failed, what asked to be left alone, what is slow, and what is busy.

circuit.py           one scope's state machine, pure
callers.py           who failed: no caller opens a circuit for others
effects.py           what an error says about a lane, if anything
table.py             the circuits and loads of one process; implements `routing.policy.lane_health.Health`
passage.py           one attempt on its way through a lane
upstream_limits.py   what providers say of their own limits
retry_budget.py      how many second attempts a provider is asked for
messages.py          what workers tell one another
sharing.py           the same over Redis

Nothing here but sharing.py knows of Redis, and nothing of Django. Time and chance are given.
"""
