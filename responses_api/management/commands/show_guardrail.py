"""show_guardrail: one guardrail in whole."""

from __future__ import annotations

from responses_api.api.guardrails import GuardrailRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = GuardrailRows
