"""Play outages of one of three lanes against a gateway of four processes, and count what clients see."""
