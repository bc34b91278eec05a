"""Connect to upstreams: transport, pool, egress checks, credentials on the wire."""
