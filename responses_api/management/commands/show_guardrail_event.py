"""show_guardrail_event: one guardrail event in whole."""

from __future__ import annotations

from responses_api.api.guardrails import GuardrailEventRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = GuardrailEventRows
