"""An answer that guardrails let through is given again to requests that the same guardrails look at."""

from __future__ import annotations

from tests.responses_api.cache.conftest import cached
from tests.support import ledger
from tests.support.guardrails import Service, guardrail, outside


def test_an_answer_is_not_given_again_once_another_guardrail_looks_at_it(ask, gateway):
    assert [cached(ask("chat", "Say [hi]")) for _ in range(2)] == ["miss", "hit"]

    guardrail("words")
    gateway.catch_up()

    assert [cached(ask("chat", "Say [hi]")) for _ in range(2)] == ["miss", "hit"]
    assert len(gateway.sandbox.calls) == 2


def test_a_blocked_request_is_not_answered_from_the_cache(ask, gateway):
    assert cached(ask("chat", "forbidden")) == "miss"

    guardrail("words")
    gateway.catch_up()

    assert ask("chat", "forbidden").status_code == 400


def test_what_was_masked_alike_is_one_request_and_both_are_told(ask, gateway):
    guardrail("pii", "pii", action="mask", config={})
    gateway.catch_up()

    one, other = ask("chat", "Ask ann@example.com"), ask("chat", "Ask bob@example.com")

    assert (cached(one), cached(other)) == ("miss", "hit")
    assert one.headers["x-tollgate-guardrails"] == other.headers["x-tollgate-guardrails"]


def test_an_answer_into_which_masked_values_are_put_back_is_nobody_elses(ask, gateway):
    guardrail("pii", "pii", action="mask", config={}, reversible=True)
    gateway.catch_up()

    for said in ("Ask ann@example.com", "Ask bob@example.com"):
        answer = ask("chat", said)
        assert cached(answer) == "off"
        assert answer.headers["x-tollgate-cache-reason"] == "guardrails"
    assert cached(ask("chat", "Ask nobody")) == "miss"


def test_a_hit_tells_what_was_masked_in_its_answer(ask, gateway):
    ledger.begin_here(gateway)
    guardrail("words", action="mask", stages=["output"])
    gateway.catch_up()

    answers = [ask("chat", "say forbidden", stream=stream) for stream in (False, True)]

    assert [cached(one) for one in answers] == ["miss", "hit"]
    assert answers[1].headers["x-tollgate-guardrails"] == "words=masked"
    assert "forbidden" not in answers[1].text
    assert [row.guardrail_outcome for row in ledger.rows(gateway)] == ["masked", "masked"]


def test_an_answer_that_a_check_could_not_look_at_is_not_given_again(ask, gateway):
    with Service(lambda question: 500) as service:
        outside("judge", service, stages=["output"], on_failure="open")
        gateway.catch_up()
        assert [cached(ask("chat", "Hi")) for _ in range(2)] == ["miss", "miss"]
        service.judge = lambda question: {"action": "block", "rule": "bad"}
        answer = ask("chat", "Hi")
    assert cached(answer) == "miss"
    assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
