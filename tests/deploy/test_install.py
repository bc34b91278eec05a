"""uv is told what stands in pip's configuration, and what it cannot be told leaves the work to pip."""

from __future__ import annotations

from pathlib import Path

from bench import scripts
from bench.processes import ROOT
from tests.plugins.cases import cases

LOCK = (ROOT / "requirements" / "base.lock").read_text()


install = scripts.load(ROOT / "deploy" / "install")


def test_of_an_option_the_section_counts_that_pip_heeds():
    listed = r"""
:env:.timeout='9'
freeze.timeout='1'
global.extra-index-url='https://a.example/simple\nfile:///b/simple'
global.timeout='60'
install.timeout='30'
""".strip()

    assert install.options_of(listed) == {
        "extra-index-url": "https://a.example/simple\nfile:///b/simple",
        "timeout": "9",
    }


@cases(
    ("options", "arguments", "variables"),
    [
        ({}, [], {}),
        ({"index-url": "https://a.example/s"}, ["--index-url", "https://a.example/s"], {}),
        (
            {"extra-index-url": "https://a.example/s\nfile:///b"},
            ["--extra-index-url", "https://a.example/s", "--extra-index-url", "file:///b"],
            {},
        ),
        ({"find-links": "/w /v"}, ["--find-links", "/w", "--find-links", "/v"], {}),
        ({"no-index": "true"}, ["--no-index"], {}),
        ({"trusted-host": "a.example"}, ["--allow-insecure-host", "a.example"], {}),
        ({"cert": "/etc/ca.pem"}, [], {"SSL_CERT_FILE": "/etc/ca.pem"}),
        ({"default-timeout": "180"}, [], {"UV_HTTP_TIMEOUT": "180"}),
        ({"no-color": "true", "progress-bar": "off"}, [], {}),
    ],
)
def test_uv_is_told_what_pip_is_told(options, arguments, variables):
    told = install.told(options, LOCK)

    assert (told.arguments, told.variables) == (arguments, variables)


def test_a_proxy_is_that_of_every_protocol():
    told = install.told({"proxy": "http://p.example:3128"}, LOCK)

    assert {"HTTP_PROXY", "https_proxy", "ALL_PROXY"} <= told.variables.keys()
    assert set(told.variables.values()) == {"http://p.example:3128"}


@cases("options", [{"client-cert": "/c.pem"}, {"no-index": "perhaps"}, {"unheard-of": "1"}])
def test_what_uv_cannot_be_told_is_left_to_pip(options):
    assert install.told(options, LOCK) is None


@cases(
    ("text", "matters"),
    [
        ("# none\n\ntorch<3\n", False),
        ("torch<3\nDjango<6\n", True),
        ("django_CSP ; python_version > '3'\n", True),
        ("-r others.txt\n", True),
        (None, True),
    ],
)
def test_constraints_count_where_they_are_about_what_is_locked(text, matters, tmp_path: Path):
    place = tmp_path / "constraints.txt"
    place.unlink(missing_ok=True)
    if text is not None:
        place.write_text(text)

    assert (install.told({"constraint": str(place)}, LOCK) is None) == matters
