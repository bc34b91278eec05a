"""Decide which guardrails apply to a call, ask those outside, act on what is found, and record it.

What is found in a text, whole or while it flows, is the business of `responses_api/guardrails`.
"""
