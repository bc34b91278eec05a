"""Share what several upstream protocols need: deltas, tools, usage, parameters, failures."""
