"""Share among the calls of one worker process: a registry of what runs, memory that is held, time limits."""
