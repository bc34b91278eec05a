#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.management import execute_from_command_line

from gateway_project.lib.actor import SYSTEM, Actor, acting
from gateway_project.lib.env import SettingError

# They do others' work until they are stopped.
SERVERS = {"serve", "background_worker", "beat", "runserver"}


def main() -> None:
    # What is written down here is secret, or of tenants: SQLite's files, spools, keys.
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    try:
        # Django's own commands do not say that they act, such as createsuperuser and changepassword.
        with acting(_actor(sys.argv[1:2])):
            execute_from_command_line(sys.argv)
    except SettingError as error:
        sys.exit(f"SettingError: {error}")


def _actor(names: list[str]) -> Actor:
    if not names or names[0] in SERVERS:
        return SYSTEM
    return Actor("command", names[0], f"manage.py {names[0]}")


if __name__ == "__main__":
    main()
