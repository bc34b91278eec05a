#!/usr/bin/env python
"""Django's command line."""

import os
import signal
import sys

from django.core.management import execute_from_command_line

from gateway_project.lib.actor import SYSTEM, Actor, acting
from gateway_project.lib.env import SettingError

# They do others' work until they are stopped.
SERVERS = {"serve", "background_worker", "beat", "runserver"}


def main() -> None:
    if os.getpid() == 1:
        # The first process of a container gets no signal that it has no handler for. A server sets its own
        # once it serves; until then, and in every other command, a container would wait to be killed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
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
