"""Keep the gateway's configuration as a file: read it, apply it, and write it.

`document.py` reads the YAML and `checking.py` its shape. `kinds.py` knows what can stand in it; each app
declares its own kinds beside its managed.py. `applying.py` makes the database like the file, and
`exporting.py` makes the file like the database.
"""
