"""Answer an equal request with the answer that was given before (docs/cache.md).

keys         what makes two requests equal, as one digest
asking       whether and how a request may use the cache
entries      a kept answer as a value
answer_template  its JSON, with places for what is new each time
recent       values by key, those used last, within so many bytes
memory       the answers that this process has at hand
repeats      the requests that were given them, so that the same bytes need not be read again
table        the answers in the database, sealed
flights      requests of this process that wait for another's answer
leases       the same among processes, by Redis
answers      find, wait for, and keep answers
serving      give a kept answer to a client
erasing      delete what has expired or may not be given any more
"""
