#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    # What is written down here is secret, or of tenants: SQLite's files, spools, keys.
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    execute_from_command_line(sys.argv)
