"""Measure what the gateway costs, beside the direct call and beside a floor without any feature."""
