"""One assembler for every upstream protocol: deltas in, steps out, and the Response they add up to."""
