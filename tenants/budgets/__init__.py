"""What callers may spend, held before it is spent."""
