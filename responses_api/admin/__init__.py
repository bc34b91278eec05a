"""Show what runs, stored responses, conversations, webhooks and guardrails in the console."""

from __future__ import annotations

from responses_api.admin import circuits as circuits
from responses_api.admin import conversations as conversations
from responses_api.admin import explain_route as explain_route
from responses_api.admin import guardrails as guardrails
from responses_api.admin import in_flight as in_flight
from responses_api.admin import kept_lists as kept_lists
from responses_api.admin import playground as playground
from responses_api.admin import purging as purging
from responses_api.admin import responses as responses
from responses_api.admin import webhooks as webhooks
