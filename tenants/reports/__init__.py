"""Answer the questions that console and management API ask about many rows."""
