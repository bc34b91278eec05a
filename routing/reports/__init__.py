"""Questions about aliases, models and providers, for the console and the management API."""
