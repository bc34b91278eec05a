#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.management import execute_from_command_line

from gateway_project.lib.env import SettingError


def main() -> None:
    # What is written down here is secret, or of tenants: SQLite's files, spools, keys.
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    try:
        execute_from_command_line(sys.argv)
    except SettingError as error:
        sys.exit(f"SettingError: {error}")


if __name__ == "__main__":
    main()
