"""Idempotency-Key: one call and one answer for all requests that carry the same key.

calls       which calls with a key this worker runs, and who waits for them
once        run the call, or join the one that runs
joining     waiting for another's answer, and repeating it
recording   keeping what is sent for those who ask again
"""
