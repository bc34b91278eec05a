"""The samples for nginx and Caddy (deploy/): the real programs in front of a real `serve`, over TLS."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.processes import free_port
from gateway_project.sandbox import SandboxServer
from tests.processes.conftest import Prepared, Serve
from tests.processes.served import Served, eventually
from tests.support.certificates import contexts
from tests.support.client import PATHS, V1, question
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.sockets import opened, text_of
from tests.support.warm import ROOT

HOST = "localhost"
# Where the client is, as the proxy sees it, which is at 127.0.0.1 as the gateway sees it.
CLIENT = "127.0.0.2"
MEGABYTE = 1024 * 1024
LARGE = 16 * MEGABYTE  # more than sockets hold for a client that takes nothing

NGINX = """
{user}
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/tollgate.conf;
}}
"""
CADDY = """
{{
	admin off
	auto_https disable_redirects
	storage file_system {directory}/caddy
}}
"""


def program(name: str) -> str:
    """Find a proxy, or skip the test; CI has to have them."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        message = f"{name} is not installed (Debian: {name.replace('nginx', 'nginx-light')})"
        if os.environ.get("TOLLGATE_TESTS_REQUIRE_PROXIES") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


def replaced(sample: str, *pairs: tuple[str, str]) -> str:
    """Put this test's addresses and files for the sample's; each has to be there."""
    text = (ROOT / "deploy" / sample).read_text(encoding="utf-8")
    for theirs, ours in pairs:
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text


def nginx(directory: Path, upstream: str, port: int) -> list[str]:
    """Write the sample with our addresses; return the command that runs it."""
    pem = str(directory / f"{HOST}.pem")
    text = replaced(
        "nginx/tollgate.conf",
        ("127.0.0.1:8000", upstream),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("listen [::]:80;", ""),
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("listen [::]:443 ssl http2;", ""),
        ("gateway.example.com", HOST),
        ("/etc/ssl/tollgate/fullchain.pem", pem),
        ("/etc/ssl/tollgate/privkey.pem", pem),
    )
    (directory / "tollgate.conf").write_text(text, encoding="utf-8")
    main = directory / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    main.write_text(NGINX.format(directory=directory, user=user), encoding="utf-8")
    return [program("nginx"), "-p", str(directory), "-c", str(main), "-e", "stderr"]


def caddy(directory: Path, upstream: str, port: int) -> list[str]:
    pem = directory / f"{HOST}.pem"
    site = f"https://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {pem} {pem}"
    text = replaced(
        "caddy/Caddyfile",
        ("127.0.0.1:8000", upstream),
        ("gateway.example.com, console.example.com {", site),
    )
    file = directory / "Caddyfile"
    file.write_text(CADDY.format(directory=directory) + text, encoding="utf-8")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]


PROXIES = {"nginx": nginx, "caddy": caddy}


@dataclass(frozen=True, slots=True)
class Proxied:
    """A gateway behind its proxy, and what its clients need."""

    served: Served
    root_url: str
    trust: ssl.SSLContext
    secret: str
    log: Path

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.root_url,
            headers={"authorization": f"Bearer {self.secret}"},
            transport=httpx.HTTPTransport(verify=self.trust, local_address=CLIENT),
            timeout=GIVE_UP_SECONDS,
        )

    def line(self, answer: httpx.Response) -> dict[str, Any]:
        """The gateway's log line of this answer."""
        wanted = answer.headers["x-request-id"]
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [each for each in self.served.lines if each.get("request_id") == wanted]
            return bool(found)

        eventually(look)
        return found[0]


@contextmanager
def running(command: list[str], directory: Path, url: str, trust: ssl.SSLContext) -> Iterator[None]:
    with (directory / "log").open("wb") as log:
        environment = {"HOME": str(directory), "PATH": os.environ["PATH"]}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        eventually(lambda: process.poll() is not None or is_ready(url, trust))
        assert process.poll() is None, (directory / "log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(GIVE_UP_SECONDS)


def is_ready(url: str, trust: ssl.SSLContext) -> bool:
    try:
        return httpx.get(f"{url}/readyz", verify=trust, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(params=PROXIES)
def proxied(
    request: pytest.FixtureRequest, serve: Serve, prepared: Prepared, tmp_path: Path
) -> Iterator[Proxied]:
    port = free_port()
    url = f"https://{HOST}:{port}"
    program(request.param)
    _, trust = contexts(HOST, tmp_path)
    served = serve(TOLLGATE_PUBLIC_URL=url, TOLLGATE_TRUSTED_PROXIES="127.0.0.1")
    upstream = served.root_url.removeprefix("http://")
    command = PROXIES[request.param](tmp_path, upstream, port)
    with running(command, tmp_path, url, trust):
        yield Proxied(served, url, trust, prepared.secret, tmp_path / "log")


def test_what_a_client_needs_passes_the_proxy(proxied: Proxied, provider: SandboxServer) -> None:
    with proxied.client() as http:
        # JSON, and who asked: the address is not what the client says of itself.
        asked = question("chat", "sandbox-chat")
        lies = {"x-forwarded-for": "203.0.113.9"}
        answer = http.post(V1 + PATHS["chat"], json=asked, headers=lies)
        assert (answer.status_code, proxied.line(answer)["client"]) == (200, CLIENT)

        # A stream arrives while it is made, here a few words a minute, and the upstream hears that its client
        # left.
        endless = question("chat", "endless", "[pace=60000]", stream=True)
        with http.stream("POST", V1 + PATHS["chat"], json=endless) as streamed:
            next(line for line in streamed.iter_lines() if '"content":' in line)
            (call,) = [each for each in provider.calls if each.fault == "never-ending"]
            assert call.ended is None
        eventually(lambda: call.ended == "client_closed")

        # 30 MB are read to their end (the answer knows the model); what is too large, the gateway says.
        large = question("chat", "none-such", "x" * 30 * MEGABYTE)
        answer = http.post(V1 + PATHS["chat"], json=large)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        answer = http.post(V1 + PATHS["chat"], content=b"x" * (32 * MEGABYTE + 1))
        assert (answer.status_code, answer.json()["error"]["type"]) == (
            413,
            "invalid_request_error",
        )

        # Neither prompts nor answers lie in a file of the proxy's, however slowly a client takes them. Of
        # streams the gateway itself asks the proxy to hold nothing back.
        large = question("chat", "sandbox-chat", "x" * LARGE)
        with http.stream("POST", V1 + PATHS["chat"], json=large) as streamed:
            assert proxied.line(streamed)["status"] == "completed"
            assert len(streamed.read()) > LARGE
        assert "to a temporary file" not in proxied.log.read_text()

        # The console knows that it is reached over https.
        page = http.get("/console/accounts/login/")
        assert "__Host-tollgate_csrf" in page.cookies
        assert "strict-transport-security" in page.headers
        form = {"login": "nobody", "password": "x", "csrfmiddlewaretoken": csrf_of(page)}
        answer = http.post(
            "/console/accounts/login/", data=form, headers={"origin": proxied.root_url}
        )
        assert answer.status_code == 200  # wrong password, and no refused form

    headers = {"authorization": f"Bearer {proxied.secret}"}
    with opened(proxied, headers, ssl=proxied.trust) as socket:
        assert text_of(socket.turn()) == "You said: Hello"
        assert text_of(socket.turn()) == "You said: Hello"


def csrf_of(page: httpx.Response) -> str:
    return page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
