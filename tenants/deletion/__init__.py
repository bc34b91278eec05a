"""Delete tenants: at once for whoever calls, in batches for what is stored, never what invoices need."""
