"""Read and change things without calling a model: conversations, lists, their queries."""
