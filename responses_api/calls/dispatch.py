"""Try the targets of one call in order until one gives its first output."""

from __future__ import annotations

import asyncio

from msgspec import structs

from gateway_project.lib.errors import BadRequest, GatewayError
from responses_api.accounting.request_costs import RequestCosts
from responses_api.calls import shortening, targets, upstream_errors
from responses_api.calls.admission import Admitted
from responses_api.calls.attempt import Ask, Attempt, open_attempt
from responses_api.calls.progress import Phase, Progress
from responses_api.doors.registry import BRIDGES
from responses_api.process.response_writer import ResponseWriter
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.protocols.shared.counting import is_absent
from routing.route import ResolvedTarget
from routing.upstream.transport import Transport, UpstreamResponse

MAX_ATTEMPTS = 3


class Dispatch:
    """The attempts of one exchange. `attempt` is the latest that was opened for the answer, `_summary` the
    one for the summary it goes on from; those before them are settled and closed. `tried` names the
    targets, each with the error it ended with."""

    __slots__ = (
        "_admitted", "_costs", "_identity", "_progress", "_reply", "_summary", "_transport", "attempt",
        "tried",
    )  # fmt: skip

    def __init__(
        self,
        admitted: Admitted,
        costs: RequestCosts,
        transport: Transport,
        identity: Identity,
        reply: ResponseWriter,
        progress: Progress,
    ) -> None:
        """`reply` gets the headers of each attempt."""
        self._admitted = admitted
        self._costs = costs
        self._transport = transport
        self._identity = identity
        self._reply = reply
        self._progress = progress
        self.attempt: Attempt | None = None
        self._summary: Attempt | None = None
        self.tried: list[str] = []

    @property
    def is_shortening(self) -> bool:
        """Return whether a summary of what is too long is being made."""
        return self._summary is not None and not self._summary.is_settled

    @property
    def response_id(self) -> str:
        """Return the id that the client will see."""
        return self._identity.id

    async def first_output(self) -> tuple[Attempt, bytes]:
        """Return the first attempt that gives output, and that output: a whole answer, or the beginning of
        a stream. Raise the last error of a target that was asked, or else that of the first target that
        cannot take this call."""
        refused: list[GatewayError] = []
        failed: list[GatewayError] = []
        for target in self._admitted.targets[:MAX_ATTEMPTS]:
            self.tried.append(target.name)
            try:
                return await self._ask(target)
            except GatewayError as error:
                self.tried[-1] = f"{target.name}: {error.code}"
                self.settle("failed", error, error.code, error.http_status)
                is_ours = isinstance(error, BadRequest)  # nothing was sent
                if not is_ours and not error.another_target_may_do:
                    raise
                (refused if is_ours else failed).append(error)
            self.close()
        raise failed[-1] if failed else refused[0]

    async def _ask(self, target: ResolvedTarget) -> tuple[Attempt, bytes]:
        if target.missing_credential:
            raise targets.no_credential(target)
        admitted = self._admitted
        self._progress.enter(Phase.SHORTENING)
        call = admitted.call
        if shortening.may_compact(call, target):
            call = await shortening.compact(admitted, target, self._summarise)
        if shortening.may_exceed_window(call, target):
            call = await shortening.fit_to_window(call, target)
        ask = Ask(
            route=admitted.door.name,
            bridge=BRIDGES[admitted.door.name, target.protocol],
            call=call,
            target=target,
            identity=self._identity,
            headers=admitted.upstream_headers,
            drop_unsupported=admitted.route.drop_unsupported,
        )
        attempt, response = await self._send(ask)
        if ask.bridge.instead is not None and is_absent(response.status):
            error = await upstream_errors.of_status(response)
            self.settle("failed", error, error.code, error.http_status)
            self.close()
            attempt, response = await self._send(structs.replace(ask, bridge=ask.bridge.instead))
        if call.stream:
            return attempt, await attempt.first_output(response)
        return attempt, await attempt.whole(response)

    async def _summarise(self, ask: Ask) -> UpstreamReader:
        """Have a summary made, which nobody but us waits for; return what read it."""
        progress = Progress(asyncio.get_running_loop())
        self._summary = await open_attempt(ask, self._costs, self._transport, progress)
        await self._summary.whole_for_us()
        return self._summary.reader

    async def _send(self, ask: Ask) -> tuple[Attempt, UpstreamResponse]:
        """Send the call to the target."""
        attempt = await open_attempt(ask, self._costs, self._transport, self._progress)
        self.attempt = attempt
        if (earlier := self._costs.billed) is not None:
            attempt.reader.meter.add(earlier)
        admitted = self._admitted
        self._reply.headers = {
            **admitted.ticket.headers,
            **admitted.told,
            **attempt.reply_headers,
        }
        return attempt, await attempt.send()

    def settle(
        self,
        status: str,
        error: GatewayError | None,
        error_code: str | None,
        http_status: int,
    ) -> None:
        """Settle the running attempts, if there are any."""
        if self._summary is not None:
            self._summary.settle(status, error, http_status=http_status, error_code=error_code)
        if self.attempt is not None:
            self.attempt.settle(
                status,
                error,
                http_status=http_status,
                error_code=error_code,
                is_first=len(self.tried) == 1,
            )

    def close(self) -> None:
        for attempt in (self._summary, self.attempt):
            if attempt is not None:
                attempt.close()
