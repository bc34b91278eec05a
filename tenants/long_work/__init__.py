"""Do long work that people ask for: rows tell how far it is, any process takes a step, files are bounded."""
