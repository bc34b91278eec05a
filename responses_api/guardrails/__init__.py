"""Find what may not pass in texts, whole or while they flow, and replace it. Pure: no database, no network.

What guardrails there are, who asks external services and what is recorded is the business of
`responses_api/enforcement`.
"""
