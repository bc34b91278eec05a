"""`python -m gateway_project.sandbox`."""

from gateway_project.sandbox.cli import main

main()
