"""Decide in which order the lanes of a route are tried, and why. Pure: no database, no network, no clock.

A lane is a target with one of its provider's credentials. Their health is kept by `routing/health`.
"""
