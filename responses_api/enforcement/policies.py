"""Find the guardrails of a call, compiled, and keep them until the configuration changes.

Where there is no guardrail at all, calls look at one attribute. Where nothing can be read, what was read
before counts, as with routes; once that is too old, calls are refused, because nobody knows what applies.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from msgspec import Struct

from gateway_project.lib import clock
from gateway_project.lib.cache import LoadingCache, StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import GuardrailUnavailable, Unavailable
from responses_api.enforcement import specs
from responses_api.enforcement.specs import AppliedGuardrail
from responses_api.guardrails import config
from responses_api.guardrails.engine import Engine, compile_guardrails
from responses_api.guardrails.spec import EXTERNAL
from tenants.keys.caller import Caller

logger = logging.getLogger("tollgate.guardrails")

FRESH_SECONDS = 30.0
STALE_SECONDS = 300.0
MAX_POLICIES = 20_000
MAX_COMPILED = 256


class GuardrailPolicy(Struct, frozen=True):
    """The guardrails that apply to a call. `broken` names one that cannot be used: nothing passes then."""

    applied: tuple[AppliedGuardrail, ...] = ()
    engine: Engine | None = None
    external: tuple[AppliedGuardrail, ...] = ()
    of_platform: frozenset[int] = frozenset()
    broken: str = ""


NOTHING: Final = GuardrailPolicy()
Compiled = dict[tuple[tuple[int, int], ...], GuardrailPolicy]


class GuardrailPolicies:
    """The policies of one worker, by tenant, key and model. `is_idle`: there is no guardrail at all."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._policies: LoadingCache[tuple[int, int, str], GuardrailPolicy] = LoadingCache(
            fresh_seconds=FRESH_SECONDS,
            stale_seconds=STALE_SECONDS,
            max_entries=MAX_POLICIES,
            max_absent=1,
        )
        self._compiled: Compiled = {}
        self._generation = 0
        self._none_since: float | None = None  # when there was last known to be none
        self._doubt: asyncio.TimerHandle | None = None
        self.is_idle = False

    def clear(self) -> None:
        """Forget everything; what is being read now counts no more."""
        self._generation += 1
        self.is_idle = False
        self._none_since = None
        self._policies.clear()
        self._compiled = {}

    async def policy(self, caller: Caller, model: str) -> GuardrailPolicy:
        """Return what applies, without awaiting if it is known. Raise Unavailable, or GuardrailUnavailable
        if something applies that cannot be used."""
        key = (caller.tenant_id, caller.key_id, model)
        found = self._policies.fresh(key) or await self._look_up(key, caller, model)
        if found.broken:
            raise GuardrailUnavailable(found.broken)
        return found

    async def _look_up(
        self, key: tuple[int, int, str], caller: Caller, model: str
    ) -> GuardrailPolicy:
        generation = self._generation

        async def load() -> GuardrailPolicy:
            there_is_any, policy = await in_database_thread(self._read, caller, model)
            if not there_is_any and generation == self._generation:
                self._none_since = clock.monotonic()
                self._rest()
            return policy

        try:
            found = await self._policies.get(key, load)
        except StoreUnavailable as error:
            if self._there_was_none():
                self._rest()
                return NOTHING
            message = "The database is unavailable; try again."
            raise Unavailable(message, retry_after_seconds=2) from error
        return found or NOTHING

    def _rest(self) -> None:
        """Look at nothing for as long as what was read counts as fresh."""
        self.is_idle = True
        if self._doubt is not None:
            self._doubt.cancel()
        self._doubt = self._loop.call_later(FRESH_SECONDS, self._wake)

    def _there_was_none(self) -> bool:
        """Return whether there was no guardrail when the database was last asked, not too long ago."""
        since = self._none_since
        return since is not None and clock.monotonic() - since < STALE_SECONDS

    def _wake(self) -> None:
        self.is_idle = False

    def _read(self, caller: Caller, model: str) -> tuple[bool, GuardrailPolicy]:
        """Return whether there is any guardrail, and what applies. Runs in a database thread."""
        compiled = self._compiled  # which what is read now belongs to, and not to what comes after
        if not specs.is_any():
            return False, NOTHING
        return True, self._policy_of(specs.find(caller, model), compiled)

    def _policy_of(
        self, applied: tuple[AppliedGuardrail, ...], compiled: Compiled
    ) -> GuardrailPolicy:
        """Return the policy of these guardrails, one for all keys and models that have the same."""
        if not applied:
            return NOTHING
        key = tuple((each.spec.id, each.spec.revision) for each in applied)
        known = compiled.get(key)
        if known is not None:
            return known
        policy = compile_policy(applied)
        if len(compiled) >= MAX_COMPILED:
            compiled.clear()
        compiled[key] = policy
        return policy


def compile_policy(applied: tuple[AppliedGuardrail, ...]) -> GuardrailPolicy:
    """Compile guardrails. One that was written past all checks and cannot be used breaks the policy, so that
    nothing passes by mistake."""
    for each in applied:
        try:
            config.validate(each.spec.kind, each.spec.config)
            compile_guardrails((each.spec,))
        except (ValueError, TypeError) as error:
            logger.error("the guardrail %r cannot be used: %s", each.spec.name, error)
            return GuardrailPolicy(broken=each.spec.name)
    return GuardrailPolicy(
        applied,
        compile_guardrails(tuple(each.spec for each in applied)),
        tuple(each for each in applied if each.spec.kind in EXTERNAL),
        frozenset(each.spec.id for each in applied if each.is_platforms),
    )
