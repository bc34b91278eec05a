"""Metrics of all processes of a host: adding them up, and where Prometheus reads them."""
