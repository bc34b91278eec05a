"""Answer with an error instead of the answer: the faults of refusal."""

from collections.abc import Callable
from dataclasses import replace

import orjson

from gateway_project.sandbox import errors
from gateway_project.sandbox.frames import event
from gateway_project.sandbox.reply import Headers, SandboxReply, whole
from gateway_project.sandbox.scene import Scene

METADATA_URL = "http://169.254.169.254/latest/meta-data/"

_BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
_PORTAL = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Sign in</body></html>"


def status(number: int, headers: Headers = ()) -> Callable[[SandboxReply, Scene], SandboxReply]:
    """Return the vendor's own error of this status."""

    def refuse(reply: SandboxReply, scene: Scene) -> SandboxReply:
        body = errors.body(scene.protocol, number, scene.request_id)
        return whole(number, body, reply.headers + headers)

    return refuse


def quota(reply: SandboxReply, scene: Scene) -> SandboxReply:
    if scene.protocol == "anthropic":
        body = errors.body("anthropic", 400, scene.request_id, errors.CREDIT)
        return whole(400, body, reply.headers)
    code = "insufficient_quota"
    body = errors.body(scene.protocol, 429, scene.request_id, errors.QUOTA, type=code, code=code)
    return whole(429, body, reply.headers)


def bad_gateway(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return whole(502, _BAD_GATEWAY, content_type="text/html")


def web_page(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return whole(200, _PORTAL, content_type="text/html; charset=utf-8")


def redirect(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return whole(302, b"", (("location", METADATA_URL),))


def early(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return replace(status(413)(reply, scene), keep_alive=False)


def inside_200(reply: SandboxReply, scene: Scene) -> SandboxReply:
    """Return an error under status 200."""
    if not scene.stream:
        return whole(200, _overloaded(scene), reply.headers)
    return replace(reply, frames=iter((_error_event(scene),)))


def inside_200_unless_streamed(reply: SandboxReply, scene: Scene) -> SandboxReply:
    return reply if scene.stream else inside_200(reply, scene)


def _overloaded(scene: Scene) -> bytes:
    return errors.body(scene.protocol, 529, scene.request_id)


def _error_event(scene: Scene) -> bytes:
    match scene.protocol:
        case "anthropic":
            return event("error", errors.anthropic_error(529, scene.request_id))
        case "responses":
            error = errors.server_error()
            flat = {"code": "server_error", "message": error["message"], "param": None}
            return event("error", {"sequence_number": 0, **flat})
    return b"data: " + orjson.dumps({"error": errors.server_error()}) + b"\n\n"
