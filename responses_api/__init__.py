"""The doors: OpenAI-compatible routes, the relay and the exchange behind them."""
