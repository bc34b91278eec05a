"""Tell tenants of events: endpoints, signatures, delivery."""
