"""Spoil a good answer on its way out: the faults of transmission."""

import zlib
from collections.abc import Callable
from dataclasses import replace

from gateway_project.sandbox.frames import Frame, Frames, Mark
from gateway_project.sandbox.reply import End, SandboxReply
from gateway_project.sandbox.scene import Scene

COMMENT_PACE_MS = 100
BOMB_HEADERS = 10_000
BOMB_VALUE = "b" * 90
HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
TRAILING_EVENT = b'event: trailing\ndata: {"type":"trailing","note":"bytes after the end"}\n\n'
BAD_EVENT = b'data: {"id": "this is not JSON\n\n'


def silence(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, frames=iter(()), head=b"", length=0, end="hang")


def status_line_only(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, frames=iter(()), head=b"HTTP/1.1 200 OK\r\n", length=0, end="hang")


def headers_only(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, frames=iter(()), end="hang")


def then(end: End, before_output: bool = False) -> Callable[[SandboxReply, Scene], SandboxReply]:
    """Let `n` deltas, or half of a JSON body, go well (or nothing of either), then end in this way."""

    def spoil(reply: SandboxReply, scene: Scene) -> SandboxReply:
        kept = b"" if before_output else _half(reply)
        after = 0 if before_output else scene.after
        frames = _until(reply.frames, after) if scene.stream else iter((kept,))
        return replace(reply, frames=frames, end=end)

    return spoil


def comments(reply: SandboxReply, scene: Scene) -> SandboxReply:
    filler = b": keep-alive\n\n" if scene.stream else b"\n"
    pace_ms = reply.pace_ms or COMMENT_PACE_MS
    return replace(reply, frames=_repeat(filler), length=None, pace_ms=pace_ms)


def cut_in_character(reply: SandboxReply, scene: Scene) -> SandboxReply:
    frames = reply.frames if scene.stream else iter((reply.body,))
    return replace(reply, frames=_until_inside_character(frames), end="cut")


def cut_in_crlf(reply: SandboxReply, scene: Scene) -> SandboxReply:
    if not scene.stream:
        return then("cut")(reply, scene)
    return replace(reply, frames=_until_inside_crlf(reply.frames, scene.after), end="cut")


def end_early(reply: SandboxReply, scene: Scene) -> SandboxReply:
    """End the body as HTTP requires but not as the protocol requires."""
    if not scene.stream:
        return replace(reply, frames=iter((_half(reply),)), length=None)
    return replace(reply, frames=_until_ending(reply.frames))


def doom(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, doomed=True)


def bad_frame(reply: SandboxReply, scene: Scene) -> SandboxReply:
    if not scene.stream:
        return bad_body(reply, scene)
    return replace(reply, frames=_with_bad_event(reply.frames))


def bad_body(reply: SandboxReply, scene: Scene) -> SandboxReply:
    body = b'{"id": "sandbox", "object": '
    return replace(reply, frames=iter((body,)), length=len(body), content_type="application/json")


def split_in_character(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, frames=_split_in_characters(reply.frames))


def split_in_crlf(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, frames=_split_in_crlf(reply.frames)) if scene.stream else reply


def trail(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, frames=_with_trailer(reply.frames, scene.stream))


def gzip(reply: SandboxReply, scene: Scene) -> SandboxReply:
    """Compress the body. Each frame is flushed, so that a stream stays one; no length is sent, as with
    proxies.
    """
    headers = (*reply.headers, ("content-encoding", "gzip"))
    return replace(reply, frames=_compress(reply.frames), headers=headers, length=None)


def drip(reply: SandboxReply, scene: Scene) -> SandboxReply:
    mark = Mark.DELTA if reply.pace_ms else Mark.FLUSH
    return replace(reply, frames=_drip(reply.frames, mark))


def bomb(reply: SandboxReply, scene: Scene) -> SandboxReply:
    many = tuple((f"x-bomb-{number}", BOMB_VALUE) for number in range(BOMB_HEADERS))
    return replace(reply, headers=reply.headers + many)


def never_end(reply: SandboxReply, scene: Scene) -> SandboxReply:
    if scene.stream:
        return reply
    return replace(reply, frames=_endless_string(), length=None)


def hint(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(reply, preamble=HINT)


def _half(reply: SandboxReply) -> bytes:
    return reply.body[: len(reply.body) // 2]


def _until(frames: Frames, deltas: int) -> Frames:
    """Return the frames before delta number `deltas`, or before the ending if there are fewer deltas."""
    for frame in frames:
        if frame is Mark.ENDING or (frame is Mark.DELTA and deltas == 0):
            return
        if frame is Mark.DELTA:
            deltas -= 1
        yield frame


def _until_ending(frames: Frames) -> Frames:
    for frame in frames:
        if frame is Mark.ENDING:
            return
        yield frame


def _repeat(filler: bytes) -> Frames:
    while True:
        yield Mark.DELTA
        yield filler


def _inside_character(frame: Frame) -> int:
    """Return the position after the first byte of the first multi-byte character, or 0."""
    if not isinstance(frame, bytes) or frame.isascii():
        return 0
    return next(place for place, byte in enumerate(frame) if byte >= 0x80) + 1


def _until_inside_character(frames: Frames) -> Frames:
    for frame in frames:
        if isinstance(frame, bytes) and (place := _inside_character(frame)):
            yield frame[:place]
            return
        yield frame


def _split_in_characters(frames: Frames) -> Frames:
    for frame in frames:
        if isinstance(frame, bytes) and (place := _inside_character(frame)):
            yield frame[:place]
            yield Mark.FLUSH
            yield frame[place:]
        else:
            yield frame


def _crlf(frame: bytes) -> bytes:
    return frame.replace(b"\n", b"\r\n")


def _until_inside_crlf(frames: Frames, deltas: int) -> Frames:
    kept = [_crlf(frame) for frame in _until(frames, deltas) if isinstance(frame, bytes)]
    yield from kept[:-1]
    yield kept[-1].removesuffix(b"\n\r\n")


def _split_in_crlf(frames: Frames) -> Frames:
    for frame in frames:
        if isinstance(frame, bytes):
            framed = _crlf(frame)
            yield framed[:-3]
            yield Mark.FLUSH
            yield framed[-3:-1]
            yield Mark.FLUSH
            yield framed[-1:]
        else:
            yield frame


def _with_bad_event(frames: Frames) -> Frames:
    is_first = True
    for frame in frames:
        yield frame
        if is_first and frame is Mark.DELTA:
            is_first = False
            yield BAD_EVENT


def _with_trailer(frames: Frames, stream: bool) -> Frames:
    yield from frames
    yield TRAILING_EVENT if stream else b"trailing bytes after the body"


def _compress(frames: Frames) -> Frames:
    packer = zlib.compressobj(wbits=31)
    for frame in frames:
        if isinstance(frame, bytes):
            yield packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH)
        else:
            yield frame
    yield packer.flush()


def _drip(frames: Frames, mark: Mark) -> Frames:
    for frame in frames:
        for byte in frame if isinstance(frame, bytes) else b"":
            yield mark
            yield bytes((byte,))


def _endless_string() -> Frames:
    yield b'{"id":"'
    while True:
        yield Mark.DELTA
        yield b"endless " * 512
