"""Account for every upstream call: hold its cost before it is sent, write it ahead, note its progress,
settle it once."""
