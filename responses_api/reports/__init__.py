"""Answer questions about what is stored and delivered, for the console and the management API."""
