"""Decide the usage of an answer that ended properly: the provider's report, completed by our count where
it lacks something."""

from __future__ import annotations

from msgspec import structs

from responses_api.stream.upstream_reader import UpstreamReader
from tenants.token_classes import Usage


def final_usage(relay: UpstreamReader, input_estimate: int) -> tuple[Usage, str]:
    """Return the usage and its source. `relay` has ended.

    A report that is missing, cannot be read, or says 0 beside an answer that was seen does not count as 0: we
    count what it lacks and mark the usage as an anomaly.
    """
    reported, written = relay.meter.own, relay.tally.tokens
    if reported is None:
        counted = Usage(input_fresh=input_estimate, output_visible=written, anomaly=True)
        return counted, "counted"
    lacks_input = not reported.input_total
    lacks_output = written > 0 and not reported.output_total
    if not (lacks_input or lacks_output):
        return reported, "provider"
    counted = structs.replace(
        reported,
        input_fresh=input_estimate if lacks_input else reported.input_fresh,
        output_visible=written if lacks_output else reported.output_visible,
        anomaly=True,
    )
    return counted, "counted"
