"""Bound what callers may spend: money is held before it is spent."""
