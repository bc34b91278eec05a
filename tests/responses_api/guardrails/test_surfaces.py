"""A text is read whatever part of a request it stands in, and what is written back takes its place."""

from __future__ import annotations

import base64
import json
from typing import Any

from responses_api.doors.registry import DOORS
from responses_api.guardrails import reading
from responses_api.guardrails.engine import Engine, compile_guardrails
from responses_api.guardrails.spec import RequestContents
from routing.protocols.shared import envelope
from tests.plugins.cases import cases
from tests.responses_api.guardrails.engines import spec, words

Json = dict[str, Any]
SECRET = "bob@example.com"
# What is open may look at items it does not know; what is closed refuses them.
ENGINE = words(on_failure="open")


def base64_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


ENCODED = base64_of(SECRET.encode())
INLINE = f"data:text/plain;base64,{ENCODED}"
# The same as some upstream would read it.
INLINES = {
    "as it is": INLINE,
    "without base64": f"data:text/plain,{SECRET}",
    "escaped": "data:text/plain," + "".join(f"%{byte:02x}" for byte in SECRET.encode()),
    "in capitals": f"DATA:TEXT/PLAIN;BASE64,{ENCODED}",
    "with an option": f"data:text/plain;base64;x=1,{ENCODED}",
    "with line breaks": f"data:text/plain;base64,{ENCODED[:6]}\r\n{ENCODED[6:]}",
    "with other characters": f"data:text/plain;base64,{ENCODED[:6]}!{ENCODED[6:]}",
    "without its end": ENCODED.rstrip("="),
    "as another type": f"data:application/octet-stream;base64,{ENCODED}",
    "as it should not be": f"to {SECRET}",
    "as a URL should not be": f"data:text/plain;base64,to {SECRET}",
    "with a character of another time": "data:text/plain;base64,"
    + base64_of(b"\xe4 " + SECRET.encode()),
    "in words of two bytes": "data:x/y;base64," + base64_of(SECRET.encode("utf-16")),
}


def item(**fields: Any) -> Json:
    return {"input": [fields]}


def message(**part: Any) -> Json:
    return item(role="user", content=[part])


RESPONSES: dict[str, Json] = {
    "input as a text": {"input": SECRET},
    "instructions": {"input": "x", "instructions": SECRET},
    "instructions as items": {"instructions": [{"role": "system", "content": SECRET}]},
    "a message without a type": item(role="developer", content=SECRET),
    "a text part": message(type="input_text", text=SECRET),
    "an answer of the history": item(
        type="message", role="assistant", content=[{"type": "output_text", "text": SECRET}]
    ),
    "a refusal": item(role="assistant", content=[{"type": "refusal", "refusal": SECRET}]),
    "an annotation": item(
        role="assistant",
        content=[{"type": "output_text", "text": "x", "annotations": [{"title": SECRET}]}],
    ),
    **{
        f"a file {name}": message(type="input_file", file_data=data)
        for name, data in INLINES.items()
    },
    "a text said to be an image": message(type="input_image", image_url=INLINE),
    "a role": item(type="message", role=SECRET, content="x"),
    "what is not sealed": item(type="reasoning", summary=[], encrypted_content=f"to {SECRET}"),
    "what is no image": item(type="image_generation_call", id="i", result=f"to {SECRET}"),
    "what is no sound": message(type="input_audio", input_audio={"data": SECRET, "format": "mp3"}),
    "a status": item(type="function_call_output", call_id="c", status=SECRET, output="x"),
    "the id of a call": item(type="function_call_output", call_id=SECRET, output="x"),
    "a word of the protocol": {"input": "x", "service_tier": SECRET},
    "an item without texts": item(type="compaction", encrypted_content="x", note=SECRET),
    "the form of a sound": message(type="input_audio", input_audio={"data": "AA==", "format": SECRET}),
    "the name of a file": message(type="input_file", filename=SECRET, file_data=INLINE),
    "the address of a file": message(type="input_file", file_url=f"https://x.test/?to={SECRET}"),
    "the address of an image": message(type="input_image", image_url=f"https://x.test/?to={SECRET}"),
    "arguments of a call": item(
        type="function_call", call_id="c", name="f", arguments=json.dumps({"to": [SECRET]})
    ),
    "escaped arguments": item(
        type="function_call", call_id="c", name="f", arguments='{"to": "bob\\u0040example.com"}'
    ),
    "a key of arguments": item(
        type="function_call", call_id="c", name="f", arguments=json.dumps({SECRET: 1})
    ),
    "arguments said twice": item(
        type="function_call", call_id="c", name="f", arguments=f'{{"to": "{SECRET}", "to": "x"}}'
    ),
    "arguments that are no JSON": item(
        type="function_call", call_id="c", name="f", arguments="{to: " + SECRET
    ),
    "the result of a call": item(type="function_call_output", call_id="c", output=SECRET),
    "a result in parts": item(
        type="function_call_output", call_id="c", output=[{"type": "input_text", "text": SECRET}]
    ),
    "a result as JSON": item(
        type="function_call_output", call_id="c", output=json.dumps({"a": {"type": SECRET}})
    ),
    "input of a custom tool": item(type="custom_tool_call", call_id="c", name="f", input=SECRET),
    "result of a custom tool": item(type="custom_tool_call_output", call_id="c", output=SECRET),
    "a reasoning summary": item(
        type="reasoning", id="r", summary=[{"type": "summary_text", "text": SECRET}]
    ),
    "reasoning": item(type="reasoning", content=[{"type": "reasoning_text", "text": SECRET}]),
    "a result of MCP": item(
        type="mcp_call", id="m", name="f", server_label="s", arguments="{}", output=SECRET
    ),
    "arguments of MCP": item(
        type="mcp_call", id="m", name="f", server_label="s", arguments=json.dumps([SECRET])
    ),
    "tools an MCP server lists": item(
        type="mcp_list_tools", server_label="s", tools=[{"name": "f", "description": SECRET}]
    ),
    "a command": item(type="local_shell_call", call_id="c", action={"command": ["mail", SECRET]}),
    "the output of a command": item(
        type="shell_call_output", call_id="c", output=[{"stdout": SECRET}]
    ),
    "a search": item(type="web_search_call", id="w", action={"type": "search", "query": SECRET}),
    "code": item(type="code_interpreter_call", id="c", code=f"mail('{SECRET}')", outputs=[]),
    "tools in the input": item(
        type="additional_tools", tools=[{"type": "function", "name": "f", "description": SECRET}]
    ),
    "an item nobody knows": item(type="brand_new", deep=[{"er": SECRET}]),
    "a field nobody knows": {"input": "x", "brand_new": {"deep": [SECRET]}},
    "a tool's description": {"tools": [{"type": "function", "name": "f", "description": SECRET}]},
    "a tool's parameters": {
        "tools": [
            {"type": "function", "name": "f", "parameters": {"properties": {"type": {"enum": [SECRET]}}}}
        ]
    },
    "a tool in a namespace": {
        "tools": [
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "description": SECRET}]}
        ]
    },
    "a hosted tool": {"tools": [{"type": "mcp", "server_label": "s", "headers": {"x": SECRET}}]},
    "the form of the answer": {"text": {"format": {"schema": {"properties": {SECRET: {}}}}}},
    "metadata": {"metadata": {"mail": SECRET}},
    "the user": {"user": SECRET},
}  # fmt: skip


def said(**fields: Any) -> Json:
    return {"messages": [{"role": "user", **fields}]}


def called(call: Json) -> Json:
    return {"messages": [{"role": "assistant", "tool_calls": [call]}]}


CHAT: dict[str, Json] = {
    "a content": said(content=SECRET),
    "a part": said(content=[{"type": "text", "text": SECRET}]),
    "a system message": {"messages": [{"role": "system", "content": SECRET}]},
    "a name": said(content="x", name=SECRET),
    "a result": {"messages": [{"role": "tool", "tool_call_id": "c", "content": SECRET}]},
    "a result of a function": {"messages": [{"role": "function", "name": "f", "content": SECRET}]},
    "a refusal": {"messages": [{"role": "assistant", "refusal": SECRET}]},
    "reasoning": {"messages": [{"role": "assistant", "reasoning_content": SECRET}]},
    "arguments": called({"id": "c", "function": {"name": "f", "arguments": json.dumps({"to": SECRET})}}),
    "a custom input": called({"id": "c", "custom": {"name": "f", "input": SECRET}}),
    "a function call": {
        "messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": f'["{SECRET}"]'}}]
    },
    **{
        f"a file {name}": said(content=[{"type": "file", "file": {"file_data": data}}])
        for name, data in INLINES.items()
    },
    "a text said to be an image": said(content=[{"type": "image_url", "image_url": {"url": INLINE}}]),
    "the detail of an image": said(
        content=[{"type": "image_url", "image_url": {"url": "https://x.test", "detail": SECRET}}]
    ),
    "a role": {"messages": [{"role": SECRET, "content": "x"}]},
    "a word of the protocol": {"messages": [], "reasoning_effort": SECRET},
    "the form of a sound": said(
        content=[{"type": "input_audio", "input_audio": {"data": "AA==", "format": SECRET}}]
    ),
    "the name of a file": said(content=[{"type": "file", "file": {"filename": SECRET}}]),
    "the address of an image": said(
        content=[{"type": "image_url", "image_url": {"url": f"https://x.test/?to={SECRET}"}}]
    ),
    "a part nobody knows": said(content=[{"type": "brand_new", "x": {"y": SECRET}}]),
    "a tool": {"messages": [], "tools": [{"type": "function", "function": {"description": SECRET}}]},
    "a custom tool": {
        "messages": [], "tools": [{"type": "custom", "custom": {"format": {"definition": SECRET}}}]
    },
    "a function": {"messages": [], "functions": [{"name": "f", "description": SECRET}]},
    "the form of the answer": {"messages": [], "response_format": {"json_schema": {"title": SECRET}}},
    "a prediction": {"messages": [], "prediction": {"content": SECRET}},
    "a stop sequence": {"messages": [], "stop": [SECRET]},
    "metadata": {"messages": [], "metadata": {SECRET: "x"}},
}  # fmt: skip
PLACES = [
    *(("responses", name, body) for name, body in RESPONSES.items()),
    *(("compact", name, body) for name, body in RESPONSES.items()),
    *(("chat", name, body) for name, body in CHAT.items()),
]


def check(door: str, body: Json, engine: Engine = ENGINE) -> tuple[RequestContents, Json, Any]:
    walk = DOORS[door].contents
    contents = reading.read(walk, body)
    verdict = engine.check_request(contents)
    return contents, reading.write(walk, body, verdict.texts), verdict


def without_secret(value: Any) -> bool:
    """Nowhere in the body, nor in what is encoded in it."""
    written = json.dumps(value, ensure_ascii=False)
    is_hidden = any(json.dumps(data)[1:-1] in written for data in INLINES.values())
    return SECRET not in written and "\\u0040example" not in written and not is_hidden


@cases(("door", "name", "body"), PLACES)
def test_a_secret_is_found_and_masked_wherever_it_stands(door: str, name: str, body: Json):
    before = json.dumps(body)
    _, sent, verdict = check(door, body)
    assert verdict.outcome == "masked"
    assert without_secret(sent)
    assert json.dumps(body) == before  # the client's own is left alone
    assert _shape(sent) == _shape(body) or "key" in name or "metadata" in name or "form" in name
    again = check(door, sent)[2]
    assert again.outcome == "passed"


@cases(
    "payload",
    [
        {"reasoning_details": [{"type": "reasoning.text", "text": SECRET, "signature": "c2ln"}]},
        {"type": "thinking", "thinking": f"to {SECRET}", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": SECRET},
        {"signature": SECRET},
        SECRET,
    ],
)
def test_what_anybody_may_seal_as_we_do_is_read_and_goes_if_it_is_changed(payload: Any):
    sealed = envelope.pack("chat", "any", payload)
    summary = [{"type": "summary_text", "text": "x"}]
    body = item(type="reasoning", summary=summary, encrypted_content=sealed)
    contents, sent, verdict = check("responses", body)
    assert verdict.findings[0].param.startswith("input[0].encrypted_content")
    assert contents.opaque[0].kind == "encrypted"
    assert sent == item(type="reasoning", summary=summary)
    harmless = envelope.pack(
        "chat", "any", {"type": "thinking", "thinking": "x", "signature": ENCODED}
    )
    body = item(type="reasoning", summary=summary, encrypted_content=harmless)
    assert check("responses", body)[1] is body


def _shape(value: Any) -> Any:
    """The value with its texts left out: what a mask may not change."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return str if isinstance(value, str) else value


@cases(("door", "name", "body"), PLACES)
def test_a_harmless_request_is_the_very_same_object(door: str, name: str, body: Json):
    harmless = json.loads(json.dumps(body).replace(SECRET, "bob").replace("\\\\u0040", "at"))
    walk = DOORS[door].contents
    contents = reading.read(walk, harmless)
    texts = tuple(segment.text for segment in contents.segments)
    assert reading.write(walk, harmless, texts) is harmless


def test_a_field_is_named_as_the_body_has_it():
    contents, _, verdict = check("responses", message(type="input_text", text=SECRET))
    assert verdict.findings[0].param == "input[0].content[0].text"
    assert contents.roles == (("user", "input[0]"),)
    _, _, verdict = check("chat", said(content=SECRET))
    assert verdict.findings[0].param == "messages[0].content"


def test_an_item_nobody_knows_is_refused_by_what_must_look_at_everything():
    body = item(type="brand_new", text="harmless")
    for action, on_failure, refused in (
        ("block", "closed", True),
        ("mask", "closed", True),
        ("mask", "open", False),
        ("monitor", "closed", False),
    ):
        engine = compile_guardrails([spec("pii", action, on_failure=on_failure)])
        refusal = check("responses", body, engine)[2].refusal
        assert (refusal is not None and refusal.rule == "opaque_item") is refused
        assert refusal is None or refusal.param == "input[0]"


@cases(
    ("door", "body", "kind"),
    [
        ("responses", item(type="reasoning", encrypted_content="x"), "encrypted"),
        ("responses", item(type="compaction", encrypted_content="x"), "encrypted"),
        ("responses", message(type="input_image", image_url="data:image/png;base64,AA=="), "image"),
        ("responses", message(type="input_file", file_data="data:application/pdf;base64,AA=="), "file"),
        ("responses", message(type="input_file", file_id="file_1"), "file"),
        ("responses", message(type="input_audio", input_audio={"data": "AA=="}), "audio"),
        ("chat", said(content=[{"type": "input_audio", "input_audio": {"data": "AA=="}}]), "audio"),
        ("chat", said(content=[{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]), "image"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_passes_unless_the_guardrail_says_otherwise(
    door: str, body: Json, kind: str
):
    assert check(door, body, compile_guardrails([spec("pii")]))[2].refusal is None
    strict = compile_guardrails([spec("pii", config={"opaque": "refuse"})])
    refusal = check(door, body, strict)[2].refusal
    assert refusal is not None
    assert refusal.rule == f"opaque_{kind}"


@cases(
    ("config", "tool", "rule"),
    [
        ({"denied_functions": ["rm"]}, {"type": "function", "name": "rm"}, "denied_functions"),
        ({"allowed_functions": ["ls"]}, {"type": "custom", "name": "rm"}, "allowed_functions"),
        ({"allowed_functions": ["ls"]}, {"type": "function", "name": "ls"}, None),
        ({"denied_types": ["web_search"]}, {"type": "web_search"}, "denied_types"),
        ({"allowed_types": []}, {"type": "mcp", "server_label": "s"}, "allowed_types"),
        ({"allowed_servers": ["s"]}, {"type": "mcp", "server_label": "t"}, "allowed_servers"),
        ({"denied_types": ["web_search"]}, {"type": "function", "name": "web_search"}, None),
    ],
)
def test_tools_a_request_brings_may_be_denied(config: Json, tool: Json, rule: str | None):
    engine = compile_guardrails([spec("tools", "block", config=config)])
    namespace = {"type": "namespace", "name": "n", "tools": [tool]}
    chat = {"type": tool["type"], tool["type"]: {"name": tool.get("name")}, **tool}
    for door, body in (
        ("responses", {"tools": [tool]}),
        ("responses", {"tools": [namespace]}),
        ("responses", item(type="tool_search_output", tools=[tool])),
        ("chat", {"messages": [], "tools": [chat]}),
    ):
        refusal = check(door, body, engine)[2].refusal
        assert (refusal and refusal.rule) == rule


@cases(
    ("config", "rule"),
    [
        ({"max_tokens": 9}, "max_tokens"),
        ({"max_images": 0}, "max_images"),
        ({"max_files": 0}, "max_files"),
        ({"denied_roles": ["system"]}, "denied_roles"),
        ({"max_tokens": 10, "max_images": 1, "max_files": 1, "denied_roles": ["developer"]}, None),
    ],
)
def test_an_input_may_be_limited(config: Json, rule: str | None):
    parts = [{"type": "input_image", "image_url": "data:x"}, {"type": "input_file", "file_id": "f"}]
    body = {"input": [{"role": "system", "content": "x"}, {"role": "user", "content": parts}]}
    contents = reading.read(DOORS["responses"].contents, body)
    engine = compile_guardrails([spec("input_limits", "block", config=config)])
    refusal = engine.check_request(contents, tokens=10).refusal
    assert (refusal and refusal.rule) == rule


def test_masks_that_are_put_back_are_numbered_by_first_appearance_and_not_stored():
    engine = words(reversible=True)
    turn = [{"role": "user", "content": f"{SECRET} wrote a@b.co, see [EMAIL_3]"}]
    body: Json = {"input": turn, "instructions": "Answer c@d.co."}
    _, sent, verdict = check("responses", body, engine)
    assert sent["instructions"] == "Answer [EMAIL_1]."
    assert sent["input"][0]["content"] == "[EMAIL_2] wrote [EMAIL_4], see [EMAIL_3]"
    assert verdict.kept == tuple(
        segment.text for segment in reading.read(DOORS["responses"].contents, body).segments
    )
    longer = {**body, "input": [*turn, {"role": "user", "content": f"And {SECRET}, e@f.co."}]}
    _, sent, verdict = check("responses", longer, engine)
    assert sent["input"][0]["content"] == "[EMAIL_2] wrote [EMAIL_4], see [EMAIL_3]"
    assert sent["input"][1]["content"] == "And [EMAIL_2], [EMAIL_5]."
    assert verdict.masks.unmask("[EMAIL_5] [EMAIL_3] [EMAIL_9]") == "e@f.co [EMAIL_3] [EMAIL_9]"
