"""Limit how fast callers may go: requests and tokens by time, and concurrent calls."""
