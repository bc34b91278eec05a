"""`python -m routing.sandbox`."""

from routing.sandbox.cli import main

main()
