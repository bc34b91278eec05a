"""Back an installation up while it serves, prove a backup, and put one back."""
