"""A circuit opens when something fails, not when somebody makes it fail, and closes when it works again."""

from __future__ import annotations

import random

import pytest

from routing.health.callers import CallerId
from routing.health.circuit import Circuit, Sample

ALICE, ALICES_OTHER, BOB = CallerId(1, 1), CallerId(1, 2), CallerId(2, 3)
HALF = 0.5  # no spread


def circuit_of_a_lane() -> Circuit:
    circuit = Circuit("x")
    circuit.vouchers.append({})
    return circuit


def failing(circuit: Circuit, count: int, *callers: CallerId, at: float = 0.0) -> None:
    for number in range(count):
        circuit.failure(at, callers[number % len(callers)], "upstream_error", HALF)


def answering(circuit: Circuit, count: int, caller: CallerId, at: float = 0.0) -> None:
    for _ in range(count):
        circuit.answered(Sample(at, caller))
        for vouchers in circuit.vouchers:
            vouchers[caller] = at


def test_five_failures_in_a_row_open_a_quiet_circuit() -> None:
    circuit = Circuit("x")
    failing(circuit, 4, ALICE, BOB)
    assert circuit.until is None
    failing(circuit, 1, ALICE)
    assert circuit.until == 10.0
    assert (circuit.opened_by, circuit.openings) == ("failures", 1)


def test_an_answer_ends_a_run() -> None:
    circuit = Circuit("x")
    for _ in range(10):
        failing(circuit, 3, ALICE, BOB)
        answering(circuit, 4, ALICE)
    assert circuit.until is None


def test_a_busy_circuit_opens_at_twelve_failures_of_twenty() -> None:
    circuit = Circuit("x")
    answering(circuit, 20, ALICE)
    failing(circuit, 11, ALICE, BOB)
    assert circuit.until is None
    failing(circuit, 1, BOB)
    assert circuit.until is not None


def test_outcomes_older_than_a_minute_do_not_count() -> None:
    circuit = Circuit("x")
    answering(circuit, 20, ALICE, at=0.0)
    failing(circuit, 5, ALICE, at=61.0)
    assert circuit.until is not None, "only a run of five is left"


def test_one_caller_among_others_opens_nothing() -> None:
    circuit = circuit_of_a_lane()
    answering(circuit, 1, BOB)
    failing(circuit, 1000, ALICE, ALICES_OTHER)
    assert circuit.until is None


def test_one_key_among_those_of_its_tenant_opens_nothing() -> None:
    circuit = circuit_of_a_lane()
    answering(circuit, 1, ALICES_OTHER)
    failing(circuit, 1000, ALICE)
    assert circuit.until is None


def test_in_an_outage_the_others_are_forgotten_soon() -> None:
    circuit = circuit_of_a_lane()
    answering(circuit, 1, BOB)
    failing(circuit, 20, ALICE, at=19.0)
    assert circuit.until is None
    failing(circuit, 1, ALICE, at=21.0)
    assert circuit.until is not None


def test_the_only_caller_opens_it() -> None:
    circuit = Circuit("x")
    failing(circuit, 5, ALICE)
    assert circuit.until is not None


def test_the_end_only_moves_forward_and_a_hold_prolongs() -> None:
    circuit = Circuit("x")
    circuit.hold(0.0, "rate_limit_exceeded", 30.0)
    circuit.hold(1.0, "rate_limit_exceeded", 5.0)
    failing(circuit, 1, ALICE, at=2.0)
    assert circuit.until == 30.0
    circuit.hold(3.0, "rate_limit_exceeded", 60.0)
    assert circuit.until == 63.0
    circuit.learn(3.0, 50.0, 1, "hold", "x")
    assert circuit.until == 63.0


def test_holds_in_a_row_grow_and_those_of_calls_in_flight_do_not() -> None:
    circuit = Circuit("x")
    ends = []
    now = 0.0
    for _ in range(6):
        for _ in range(10):  # ten calls in flight meet the same refusal
            circuit.hold(now, "rate_limit_exceeded", 5.0, 60.0)
        assert circuit.until is not None
        ends.append(circuit.until - now)
        now = circuit.until
        assert circuit.lease(now, 60.0)
        circuit.hold(now, "rate_limit_exceeded", 5.0, 60.0, is_probe=True)
        now = circuit.until
        circuit.close()
    assert ends == [5.0] * 6
    circuit = Circuit("x")
    pauses, now = [], 0.0
    for _ in range(6):
        circuit.hold(now, "rate_limit_exceeded", 5.0, 60.0, is_probe=circuit.until is not None)
        assert circuit.until is not None
        pauses.append(circuit.until - now)
        now = circuit.until
        circuit.lease(now, 60.0)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_only_one_call_finds_out_and_its_failure_doubles_the_pause() -> None:
    circuit = Circuit("x")
    failing(circuit, 5, ALICE)
    assert not circuit.lease(9.9, 60.0)
    assert circuit.lease(10.0, 60.0)
    assert not circuit.lease(10.0, 60.0)
    circuit.failure(12.0, ALICE, "upstream_error", HALF, is_probe=True)
    assert (circuit.until, circuit.openings) == (32.0, 2)
    assert circuit.lease(32.0, 60.0)
    circuit.give_back()
    assert circuit.lease(32.0, 60.0)
    circuit.close()
    assert (circuit.until, circuit.openings) == (None, 0)


def test_a_lane_that_costs_clients_their_answers_is_tried_more_rarely() -> None:
    pauses = {}
    for is_costly in (False, True):
        circuit = Circuit("x")
        failing(circuit, 5, ALICE)
        for _ in range(10):
            now = circuit.until or 0.0
            circuit.lease(now, 60.0)
            circuit.failure(now, ALICE, "x", HALF, is_probe=True, is_costly=is_costly)
        pauses[is_costly] = (circuit.until or 0.0) - now
    assert pauses == {False: 40.0, True: 300.0}


def test_answers_that_break_off_open_it_as_well() -> None:
    circuit = Circuit("x")
    for _ in range(5):
        sample = Sample(0.0, ALICE)
        circuit.answered(sample)
        circuit.failure(0.0, ALICE, "upstream_cut", HALF, sample=sample)
    assert circuit.until is not None


def test_calls_elsewhere_add_to_a_run_and_end_it() -> None:
    circuit = Circuit("x")
    for _ in range(4):
        assert not circuit.failure_elsewhere(0.0, BOB, "x", HALF)
    circuit.success_elsewhere()
    for _ in range(4):
        assert not circuit.failure_elsewhere(0.0, BOB, "x", HALF)
    assert circuit.failure(0.0, ALICE, "x", HALF)


@pytest.mark.parametrize(("share", "most"), [(0.1, 0), (0.2, 6)])
def test_background_errors_hardly_ever_open_it(share: float, most: int) -> None:
    """Play an hour at each of several rates, with several processes."""
    worst = 0
    for per_second, workers in ((0.2, 1), (2.0, 4), (10.0, 4)):
        chance = random.Random(f"{share} {per_second}")
        circuits = [Circuit("x") for _ in range(workers)]
        opened, now = 0, 0.0
        while now < 3600.0:
            now += chance.expovariate(per_second)
            here = chance.randrange(workers)
            caller = CallerId(chance.randrange(3), 0)
            circuit, others = circuits[here], circuits[:here] + circuits[here + 1 :]
            if chance.random() < share:
                opens = circuit.failure(now, caller, "x", HALF)
                if not opens:
                    opens = any(o.failure_elsewhere(now, caller, "x", HALF) for o in others)
                if opens:
                    opened += 1
                    for each in circuits:
                        each.close()
            elif circuit.answered(Sample(now, caller)):
                for each in others:
                    each.success_elsewhere()
        worst = max(worst, opened)
    assert worst <= most
