"""No tenant can see, change or even notice what belongs to another."""
