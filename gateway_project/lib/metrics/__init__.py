"""Count in memory, and tell Prometheus (docs/observability.md, docs/adr/0024-own-metrics.md)."""
