"""Console pages of stored responses, conversations and webhooks."""

from __future__ import annotations

from responses_api.admin import conversations as conversations
from responses_api.admin import responses as responses
from responses_api.admin import webhooks as webhooks
