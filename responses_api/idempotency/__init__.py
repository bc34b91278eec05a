"""Idempotency-Key: make one call and give one answer for all requests that carry the same key.

calls       the calls with a key that this worker runs, and the requests that wait for them
once        run the call, or join the one that runs
joining     wait for another request's answer, and repeat it
recording   store what is sent for those who ask again
"""
