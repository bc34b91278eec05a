"""Decide who may do what: rights, the roles that bundle them, and who is acting."""
