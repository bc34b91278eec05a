"""Define the faults, ordered by the model name `sandbox-fault-<name>` or by calling a fault URL."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway_project.sandbox import damage, refusals
from gateway_project.sandbox.plan import AnswerPlan, ScriptedUsage
from gateway_project.sandbox.reply import SandboxReply
from gateway_project.sandbox.scene import Scene

PREFIX = "sandbox-fault-"
HUGE_EVENT_BYTES = 10 * 1024 * 1024

Replan = Callable[[AnswerPlan], AnswerPlan]
Resend = Callable[[SandboxReply, Scene], SandboxReply]


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to go wrong: in what is said (`replan`), in how it is sent (`resend`), or at a port."""

    name: str
    description: str
    replan: Replan | None = None
    resend: Resend | None = None
    has_own_port: bool = False

    @property
    def model(self) -> str:
        return PREFIX + self.name


def _mark(plan: AnswerPlan) -> AnswerPlan:
    return replace(plan, marked=True)


def _speak_german(plan: AnswerPlan) -> AnswerPlan:
    return replace(plan, text="Grüße aus dem Sandkasten — für Sie.", chunks=0)


def _only_first_pieces(plan: AnswerPlan) -> AnswerPlan:
    pieces = list(plan.pieces())[: plan.after]
    return replace(
        plan, text="".join(pieces), chunks=plan.chunks and len(pieces), tools=(), ending="error"
    )


def _count_inclusive(plan: AnswerPlan) -> AnswerPlan:
    return replace(plan, usage=replace(plan.usage, input=1000, cached=800))


def _count_exclusive(plan: AnswerPlan) -> AnswerPlan:
    return replace(plan, usage=replace(plan.usage, input=200, cached=800, exclusive=True))


def _count_negative(plan: AnswerPlan) -> AnswerPlan:
    return replace(plan, usage=ScriptedUsage(input=-5, output=-1, cached=-3))


def _one_huge_piece(plan: AnswerPlan) -> AnswerPlan:
    return replace(plan, text="x" * HUGE_EVENT_BYTES, chunks=1, tools=(), refusal="")


def _forever(plan: AnswerPlan) -> AnswerPlan:
    return replace(plan, endless=True, tools=(), refusal="")


_SILENT = (
    Fault("silence", "Accepts the request and never answers.", resend=damage.silence),
    Fault(
        "200-then-silence",
        "Sends the status line, then nothing: the head never ends.",
        resend=damage.status_line_only,
    ),
    Fault(
        "headers-then-silence",
        "Sends status and headers, then no byte of the body.",
        resend=damage.headers_only,
    ),
    Fault(
        "200-then-silence-after-n",
        "Falls silent after n output deltas ([after=n], else 3); JSON after half the body.",
        replan=_mark,
        resend=damage.then("hang"),
    ),
    Fault(
        "comments-only",
        "Sends SSE comments (JSON: blank lines) forever, each after [pace=MS] or 100 ms.",
        resend=damage.comments,
    ),
)

_REFUSING = (
    Fault("400", "Refuses the request as invalid.", resend=refusals.status(400)),
    Fault("401", "Refuses the key.", resend=refusals.status(401)),
    Fault("403", "Denies permission.", resend=refusals.status(403)),
    Fault("404", "Does not know the model.", resend=refusals.status(404)),
    Fault("413", "Finds the request too large.", resend=refusals.status(413)),
    Fault("422", "Cannot follow the request.", resend=refusals.status(422)),
    Fault("429", "Rate limit, without retry-after.", resend=refusals.status(429)),
    Fault(
        "429-retry-after",
        "Rate limit, with retry-after: 2.",
        resend=refusals.status(429, (("retry-after", "2"),)),
    ),
    Fault(
        "429-insufficient-quota",
        "The account is out of money, which no retry cures (Anthropic: 400).",
        resend=refusals.quota,
    ),
    Fault("500", "Server error.", resend=refusals.status(500)),
    Fault("502", "A proxy's HTML error page.", resend=refusals.bad_gateway),
    Fault("503", "Overloaded, in OpenAI's way.", resend=refusals.status(503)),
    Fault("529", "Overloaded, in Anthropic's way.", resend=refusals.status(529)),
    Fault(
        "redirect",
        "302 to the cloud metadata address 169.254.169.254.",
        resend=refusals.redirect,
    ),
    Fault(
        "early-response",
        "Answers 413 before the body has been read, then closes the connection.",
        resend=refusals.early,
    ),
)

_BREAKING = (
    Fault(
        "error-first",
        "200, and the first event is an error (JSON: the body is one).",
        resend=refusals.inside_200,
    ),
    Fault(
        "error-mid",
        "An error event after n deltas, then the stream ends (JSON: as error-first).",
        replan=_only_first_pieces,
        resend=refusals.inside_200_unless_streamed,
    ),
    Fault(
        "cut",
        "Closes the connection after n deltas ([after=n], else 3); JSON after half the body.",
        replan=_mark,
        resend=damage.then("cut"),
    ),
    Fault(
        "cut-before-output",
        "Closes the connection before the first output (JSON: after the headers).",
        replan=_mark,
        resend=damage.then("cut", before_output=True),
    ),
    Fault(
        "reset",
        "As cut, but the connection is reset.",
        replan=_mark,
        resend=damage.then("reset"),
    ),
    Fault(
        "cut-utf8",
        "Closes the connection inside a multi-byte character.",
        replan=_speak_german,
        resend=damage.cut_in_character,
    ),
    Fault(
        "cut-crlf",
        "Frames with CRLF and closes the connection between CR and LF after n deltas.",
        replan=_mark,
        resend=damage.cut_in_crlf,
    ),
    Fault(
        "clean-eof",
        "Ends the body cleanly, but without the terminal event (JSON: with half the object).",
        replan=_mark,
        resend=damage.end_early,
    ),
    Fault(
        "reset-keepalive",
        "Answers well and resets the connection when its next request arrives.",
        resend=damage.doom,
    ),
)

_MALFORMED = (
    Fault(
        "bad-json-frame",
        "One event in the middle is not JSON; the rest is fine (JSON: as bad-json-body).",
        replan=_mark,
        resend=damage.bad_frame,
    ),
    Fault("bad-json-body", "200 with JSON that breaks off.", resend=damage.bad_body),
    Fault(
        "utf8-split",
        "A good answer whose chunks are split inside a multi-byte character.",
        replan=_speak_german,
        resend=damage.split_in_character,
    ),
    Fault(
        "crlf-split",
        "A good stream framed with CRLF whose chunks are split between CR and LF.",
        resend=damage.split_in_crlf,
    ),
    Fault(
        "duplicate-terminal",
        "The terminal events are sent twice.",
        replan=lambda plan: replace(plan, ending="twice"),
    ),
    Fault(
        "trailing-after-done",
        "More bytes after the end: an event after the terminal one (JSON: beyond content-length).",
        resend=damage.trail,
    ),
    Fault("huge-event", "One text delta of 10 MiB.", replan=_one_huge_piece),
    Fault(
        "gzip", "The body is compressed although the client did not ask for it.", resend=damage.gzip
    ),
    Fault(
        "slow-drip",
        "One byte at a time, each after [pace=MS] or as fast as it goes.",
        resend=damage.drip,
    ),
    Fault(
        "wrong-content-type",
        "A good body, labelled text/plain.",
        resend=lambda reply, scene: replace(reply, content_type="text/plain; charset=utf-8"),
    ),
    Fault("html", "200 with a web page, as a captive portal does.", resend=refusals.web_page),
    Fault("header-bomb", "A good answer below 1 MB of headers.", resend=damage.bomb),
    Fault(
        "never-ending",
        "Endless text, as fast as the client reads or at [pace=MS].",
        replan=_forever,
        resend=damage.never_end,
    ),
    Fault("1xx", "103 Early Hints before a good answer.", resend=damage.hint),
)

_MISCOUNTING = (
    Fault("no-usage", "No usage anywhere.", replan=lambda plan: replace(plan, usage_mode="none")),
    Fault(
        "usage-twice",
        "The same usage in two events.",
        replan=lambda plan: replace(plan, usage_mode="twice"),
    ),
    Fault(
        "usage-decreasing",
        "A usage that is 100 higher, and then the true one.",
        replan=lambda plan: replace(plan, usage_mode="decreasing"),
    ),
    Fault(
        "cached-inclusive",
        "1000 input tokens, 800 of which are cached (right for OpenAI, wrong for Anthropic).",
        replan=_count_inclusive,
    ),
    Fault(
        "cached-exclusive",
        "200 input tokens beside 800 cached ones (right for Anthropic, wrong for OpenAI).",
        replan=_count_exclusive,
    ),
    Fault("negative-tokens", "Token counts below zero.", replan=_count_negative),
)

_UNREACHABLE = (
    Fault("connect-refused", "Nobody listens at this port.", has_own_port=True),
    Fault("tls-fail", "An https URL where nobody speaks TLS.", has_own_port=True),
    Fault("accept-silence", "Accepts connections and never answers.", has_own_port=True),
)

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for group in (_SILENT, _REFUSING, _BREAKING, _MALFORMED, _MISCOUNTING, _UNREACHABLE)
    for fault in group
}


def of_model(model: str) -> Fault | None:
    """Return the fault a model name orders; KeyError if it names one that does not exist."""
    if not model.startswith(PREFIX):
        return None
    fault = FAULTS[model.removeprefix(PREFIX)]
    if fault.has_own_port:
        raise KeyError(fault.name)
    return fault
