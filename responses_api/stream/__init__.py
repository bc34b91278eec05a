"""Carry one answer to the client, without HTTP and Django: deltas, items, steps, frames."""
