"""explain_route."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from routing.models import Target
from tests.commands.running import answer, failed_answer, refusal, text
from tests.support import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shared() -> None:
    """`m`: two of one tier, three calls to one, and a third for streams alone."""
    up = rows.provider("chat", "https://up.example/v1", name="up", secret="sk-0123456789")
    alias = rows.alias("m", (up, "large"), (up, "small"), (up, "streams"))
    Target.objects.filter(alias=alias, provider_model__upstream_id="small").update(
        position=0, weight=300
    )
    Target.objects.filter(alias=alias, provider_model__upstream_id="streams").update(
        when={"stream": True}
    )


def test_it_tells_order_shares_and_reasons() -> None:
    told = answer("explain_route", "m")
    assert (told["alias"], told["strategy"], told["refusal"]) == ("m", "weighted", None)
    found = {each["target"]: each for each in told["lanes"]}
    assert {each["place"] for each in found.values()} == {1, 2, None}
    assert abs(found["up/small"]["share_percent"] - 75) <= 3
    assert abs(found["up/large"]["share_percent"] - 25) <= 3
    assert found["up/small"]["credential"] == "default ••••6789"
    assert (found["up/streams"]["reason"], found["up/streams"]["detail"]) == ("when", "stream")
    lines = text("explain_route", "m")
    assert "up/streams (default ••••6789): dropped, it is not meant for such calls: stream" in lines
    assert "sk-0123456789" not in lines


def test_it_reads_a_request_and_a_key(tmp_path: Path) -> None:
    acme = rows.customer("acme")
    body = tmp_path / "request.json"
    body.write_bytes(
        orjson.dumps({"messages": [{"role": "user", "content": "Hi"}], "stream": True})
    )
    told = answer("explain_route", "m", "--key", acme.key.public_id, "--body", str(body))
    assert (told["facts"]["route"], told["facts"]["key"]) == ("chat", acme.key.public_id)
    assert all(each["place"] for each in told["lanes"])


def test_it_says_what_a_client_would_be_told() -> None:
    Target.objects.update(when={"stream": True})
    told = failed_answer("explain_route", "m")
    assert "no target that is meant for such a request" in told["refusal"]
    Target.objects.update(enabled=False)
    told = failed_answer("explain_route", "m")
    assert "no enabled target" in told["refusal"]
    assert {each["reason"] for each in told["lanes"]} == {"disabled"}


def test_what_cannot_be_explained_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "request.json"
    broken.write_text("{")
    assert "alias: " in refusal("explain_route", "unknown")
    assert "route: " in refusal("explain_route", "m", "--route", "telex")
    assert "is not valid JSON" in refusal("explain_route", "m", "--body", str(broken))
    broken.write_text('{"input": 5}')
    assert "body: " in refusal("explain_route", "m", "--body", str(broken))
    assert "cannot be read" in refusal("explain_route", "m", "--body", str(tmp_path / "none"))
