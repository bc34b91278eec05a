"""Responses that are made whether or not anybody waits: in the background, or as streams to come back to."""
