"""The programs that the console offers with a new key run as they are pasted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from responses_api.resources import snippets
from tenants.console.snippets import QUESTION, Example
from tests.contract import programs
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.rows import Customer

pytestmark = pytest.mark.django_db(transaction=True)

ANSWER = f"You said: {QUESTION}"


@pytest.fixture
def example(gateway: LiveGateway, acme: Customer) -> Example:
    return Example(gateway.base_url, "sandbox-chat", acme.secret)


def test_curl_answers_in_a_shell(example: Example, tmp_path: Path):
    ended = subprocess.run(
        ["sh"],
        input=snippets.curl(example).text,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=GIVE_UP_SECONDS,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ANSWER in ended.stdout


@pytest.mark.clients  # the library openai is theirs
def test_python_prints_the_answer(example: Example, tmp_path: Path):
    script = tmp_path / "hello.py"
    script.write_text(snippets.python(example).text)

    ended = programs.run([sys.executable, script], tmp_path)

    assert (ended.code, ended.out) == (0, f"{ANSWER}\n"), ended.err


@pytest.mark.clients
@pytest.mark.client_programs
def test_javascript_prints_the_answer(example: Example, tmp_path: Path):
    programs.need_node()
    script = programs.NODE / "pasted-hello.mjs"  # beside its packages, where Node finds them
    script.write_text(snippets.javascript(example).text)

    ended = programs.run(["node", script], tmp_path)

    assert (ended.code, ended.out) == (0, f"{ANSWER}\n"), ended.err


def test_the_environment_is_that_of_openais_libraries(example: Example):
    shown = '\nprintf "%s %s" "$OPENAI_BASE_URL" "$OPENAI_API_KEY"'

    ended = subprocess.run(
        ["sh"],
        input=snippets.environment(example).text + shown,
        capture_output=True,
        text=True,
        check=True,
        timeout=GIVE_UP_SECONDS,
    )

    assert ended.stdout == f"{example.base_url} {example.secret}"


def test_pasting_for_codex_twice_writes_its_files_once(example: Example, tmp_path: Path):
    home = tmp_path / "it's home"
    home.mkdir()
    pasted = snippets.codex(example).text
    told = 'codex() { echo "$TOLLGATE_API_KEY $*"; }\n' + pasted + pasted

    ended = subprocess.run(
        ["sh"],
        input=told,
        capture_output=True,
        text=True,
        check=True,
        timeout=GIVE_UP_SECONDS,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
    )

    assert ended.stdout.splitlines()[0].startswith(f"{example.secret} exec --profile tollgate")
    config = (home / ".codex/config.toml").read_text()
    assert config.count("[model_providers.tollgate]") == 1
    assert example.base_url in config
    assert 'model = "sandbox-chat"' in (home / ".codex/tollgate.config.toml").read_text()
