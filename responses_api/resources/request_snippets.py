"""Write a request like one of the log as commands to copy.

Names come from whoever sent it, so each is quoted for where it stands: a name must not become a command.
"""

from __future__ import annotations

import json
import shlex

from responses_api.doors.registry import DOORS
from tenants.reports.logged_request import LoggedRequest


def snippets(row: LoggedRequest, base_url: str) -> list[dict[str, str]]:
    """Return the commands, each with its label; none for what came to no door of today."""
    door = DOORS.get(row.route)
    if door is None:
        return []
    body = {"model": row.requested_model or row.alias, **door.example}
    if row.streamed:
        body["stream"] = True
    found = [{"label": "curl", "text": _curl(f"{base_url}/{door.path}", json.dumps(body))}]
    if door.generates and not door.compacts:
        call = door.path.replace("/", ".")
        found.append({"label": "Python", "text": _python(base_url, call, body)})
    return found


def _curl(address: str, body: str) -> str:
    return (
        f"curl {shlex.quote(address)} \\\n"
        '  -H "Authorization: Bearer $TOLLGATE_API_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(body)}"
    )


def _python(base_url: str, call: str, body: dict[str, object]) -> str:
    given = "".join(f"    {name}={value!r},\n" for name, value in body.items())
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url={base_url!r}, api_key=os.environ["TOLLGATE_API_KEY"])\n'
        f"answer = client.{call}.create(\n{given})"
    )
