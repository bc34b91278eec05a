"""Reference data beside the tests: recorded exchanges, official schemas, captured requests of clients.

`tests/recordings` holds answers of real providers, `tests/schemas` what OpenAI and Open Responses publish,
`tests/captures` what real clients sent. Each folder has a README that says where its files come from.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parents[1]


def path_to(name: str) -> Path:
    """Return the path of a file, given from the folder of tests."""
    return FOLDER / name


def json_of(name: str) -> Any:
    return orjson.loads(path_to(name).read_bytes())


def recordings(protocol: str, suffix: str) -> list[Any]:
    """Return test parameters: each recorded answer of a protocol."""
    names = sorted(FOLDER.glob(f"recordings/{protocol}/*{suffix}"))
    found = [path for path in names if not path.name.endswith(".request.json")]
    assert found, f"no recordings of {protocol}"
    return [pytest.param(path, id=path.stem) for path in found]


def captures() -> list[tuple[str, Any]]:
    """Return every request that clients were seen to send, each with a name for it."""
    return [
        (f"{path.stem}-{number}", request)
        for path in sorted(FOLDER.glob("captures/*.json"))
        for number, request in enumerate(orjson.loads(path.read_bytes()).get("requests", ()))
    ]


def explain(validator: Draft202012Validator, value: Any) -> list[str]:
    """Return what is wrong with a value, as lines; empty if it is valid."""
    return [
        f"{error.json_path}: {error.message[:300]}"
        for error in sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    ]


def event_validators() -> dict[str, Draft202012Validator]:
    """A validator for each stream event of the Responses API, by its type."""
    return _validators("schemas/openai-sdk-3.52.0-response_stream_event.schema.json")


def socket_event_validators() -> dict[str, Draft202012Validator]:
    """Return a validator for each frame that a server sends over a WebSocket."""
    return _validators("schemas/openai-sdk-3.52.0-responses_ws_server_event.schema.json")


@cache
def _validators(name: str) -> dict[str, Draft202012Validator]:
    schema = json_of(name)
    definitions = schema["$defs"]
    branches = [branch["$ref"].rpartition("/")[2] for branch in schema["anyOf"]]
    return {
        definitions[branch]["properties"]["type"]["const"]: Draft202012Validator(
            {"$ref": f"#/$defs/{branch}", "$defs": definitions}
        )
        for branch in branches
    }


@cache
def response_validator() -> Draft202012Validator:
    """Return a validator for a Response object, as the official SDK types it."""
    return Draft202012Validator(json_of("schemas/openai-sdk-3.52.0-response.schema.json"))


@cache
def open_responses_validator(name: str) -> Draft202012Validator:
    """Return a validator for a schema of the Open Responses specification, by its name."""
    document = json_of("schemas/openresponses-openapi-2026-04-24.json")
    reference = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(reference)
