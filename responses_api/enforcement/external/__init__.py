"""Ask guardrails that live outside: moderation services and webhooks."""
