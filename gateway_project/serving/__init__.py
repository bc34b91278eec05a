"""The production server: a supervisor, its worker processes and the sandbox beside them."""
