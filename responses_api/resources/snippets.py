"""Write programs that call the gateway as they are pasted into a terminal or a file."""

from __future__ import annotations

import json
import shlex

from django.utils.translation import gettext_lazy as _

from responses_api.resources import codex_profile
from tenants.console.snippets import QUESTION, Example, Snippet


def curl(example: Example) -> Snippet:
    body = json.dumps({"model": example.alias, "input": QUESTION})
    text = (
        f"curl {shlex.quote(f'{example.base_url}/responses')} \\\n"
        f"  -H {shlex.quote(f'Authorization: Bearer {example.secret}')} \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}\n"
    )
    return Snippet("curl", "curl", text, _("Paste it into a terminal."))


def python(example: Example) -> Snippet:
    text = (
        "from openai import OpenAI\n\n"
        f"client = OpenAI(base_url={example.base_url!r}, api_key={example.secret!r})\n"
        f"answer = client.responses.create(model={example.alias!r}, input={QUESTION!r})\n"
        "print(answer.output_text)\n"
    )
    return Snippet("python", "Python", text, _("Needs the package openai: pip install openai"))


def javascript(example: Example) -> Snippet:
    text = (
        'import OpenAI from "openai";\n\n'
        f"const client = new OpenAI({{ baseURL: {json.dumps(example.base_url)}, "
        f"apiKey: {json.dumps(example.secret)} }});\n"
        "const answer = await client.responses.create({ "
        f"model: {json.dumps(example.alias)}, input: {json.dumps(QUESTION)} }});\n"
        "console.log(answer.output_text);\n"
    )
    hint = _("Save it as hello.mjs; needs the package openai: npm install openai")
    return Snippet("javascript", "JavaScript", text, hint)


def codex(example: Example) -> Snippet:
    profile = codex_profile.profile(example.alias, example.base_url)
    table = f"[model_providers.{codex_profile.PROVIDER}]"
    text = (
        f"export {profile.env_key}={shlex.quote(example.secret)}\n"
        "mkdir -p ~/.codex\n"
        f"grep -qsF {shlex.quote(table)} {profile.config_path} || "
        f"cat >> {profile.config_path} <<'END'\n"
        f"{profile.config_toml}END\n"
        f"cat > {profile.profile_path} <<'END'\n"
        f"{profile.profile_toml}END\n"
        f"{profile.command}\n"
    )
    hint = _("Paste it into a terminal. A provider “tollgate” that Codex knows already is kept.")
    return Snippet("codex", "Codex", text, hint)


def environment(example: Example) -> Snippet:
    text = (
        f"export OPENAI_BASE_URL={shlex.quote(example.base_url)}\n"
        f"export OPENAI_API_KEY={shlex.quote(example.secret)}\n"
    )
    hint = _("For programs that use OpenAI's libraries; name an alias as the model.")
    return Snippet("environment", _("Environment"), text, hint)


WRITERS = curl, python, javascript, codex, environment
