"""Start programs as forks of one process that has imported everything already.

Importing takes two seconds of processor time, most of what starting a program takes. This process reads from
the socket it is given what to start, and with which files; it writes the process id and, in the end, how the
program ended and what it cost into a pipe of that program.

What a program does is what it does when Python starts it, as long as nothing that was imported has read
another environment than its own: the settings are read anew, and where one of those that were read during the
imports is not the same now, Python is started after all. So it is where this process could not read them
itself: what is wrong with them each program says.

What Python does last is not done: to take apart all that was imported takes longer than many a program.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import django
from django.conf import Settings, settings

from gateway_project.lib import database_url
from gateway_project.lib.env import SettingError

OURS = "gateway_project.settings"
# Read during the imports, and given to those who keep them once more.
RENEWED = frozenset({"_wrapped", "DATABASES", "LOGGING", "REDIS_URL", "SETTINGS_MODULE"})
CELERY = "gateway_project.celery"
# Settings of tests that take ours and change, in what was imported, what is no setting.
BUILT_ON_OURS = frozenset(
    {"tests.backup.cheap_keys", "tests.processes.freezing", "tests.processes.patient"}
)
TETHERED = "tests.support.tethered"
MOST_BYTES, MOST_FILES = 1 << 18, 5
# What servers and commands import beyond that.
FURTHER = (
    "django.core.management.commands.migrate",
    "django.core.management.commands.shell",
    "gateway_project.preflight",
    "gateway_project.quickstart",
    "gateway_project.serving.serve",
)
# What servers import in the end, but what reads settings that are theirs alone.
OF_SERVERS = (
    "django.core.handlers.asgi",
    "gateway_project.health",
    "gateway_project.serving.django_handler",
    "gateway_project.serving.guard",
    "gateway_project.serving.metrics.route",
    "responses_api.consumers",
    "responses_api.urls",
    "uvicorn.protocols.http.httptools_impl",
)
# Instead of a program: a parent of servers that have imported the console, as those with several workers do.
CONSOLE = "gateway_project.console_urls"

exit_code: int | None = None  # once it is known that Python would end with it


@dataclass(frozen=True, slots=True)
class Program:
    """Describe what is to be run: arguments of a Python, its environment, its standard files, or one more."""

    arguments: list[str]
    environment: dict[str, str]
    leads_session: bool
    files: list[int]


def main() -> None:
    atexit.register(_leave)  # before all others, which are called first
    control = socket.socket(fileno=int(sys.argv[2]))  # [1] is what settings look at
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for those who are tested
    is_warm = _import_everything()
    program = _start_programs(control)
    if program is not None and program.arguments == [CONSOLE]:
        program = _start_programs(_with_console(program, is_warm))
    global exit_code  # noqa: PLW0603 - which is that of the process
    try:
        if program is not None:
            _run(program, is_warm)
    except SystemExit as end:
        if isinstance(end.code, int | None):
            exit_code = end.code or 0
        raise
    exit_code = 0


def _leave() -> None:
    """End without taking apart what was imported, after what is registered to be done and the last thread.

    Where there is more to say than a number, such as a traceback, Python goes on and says it.
    """
    if exit_code is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def _with_console(program: Program, is_warm: bool) -> socket.socket:
    """Import the console too; return the socket that this process is asked through."""
    control, *files = program.files
    for file in files:
        os.close(file)
    if is_warm:
        importlib.import_module(CONSOLE)
        _keep()
    return socket.socket(fileno=control)


def _import_everything() -> bool:
    """Return whether the settings of this family of programs can be read, without which nothing can be."""
    from django.db.migrations.loader import MigrationLoader  # noqa: PLC0415 - after the settings

    try:
        django.setup()
    except SettingError:
        return False
    for name in (*FURTHER, *(each.rpartition(".")[0] for each in settings.MIDDLEWARE)):
        importlib.import_module(name)
    MigrationLoader(None)  # has imported every migration
    if sys.argv[1] == "serve":
        serve = importlib.import_module("gateway_project.serving.serve")
        serve.import_rest_framework()
        for name in (*OF_SERVERS, *serve.OF_WORKERS, *serve.WITH_REDIS):
            importlib.import_module(name)
        serve.prepare_models()
    _keep()
    return True


def _keep() -> None:
    """Let no collection of a fork look at what there is now."""
    gc.collect()
    gc.freeze()


def _start_programs(control: socket.socket) -> Program | None:
    """Fork until nobody asks any more. Return the program in the process that is to run it."""
    running: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fd)
                    _tell_end(key.fd, *running.pop(key.fd))
                    continue
                program = _asked(control)
                if program is None:
                    return None
                pid = os.fork()
                if pid == 0:
                    control.close()
                    for fd, (_, told) in running.items():
                        os.close(fd)
                        os.close(told)
                    return program
                *files, told = program.files
                for file in files:
                    os.close(file)
                os.write(told, b"%d\n" % pid)
                watch = os.pidfd_open(pid)
                running[watch] = pid, told
                selector.register(watch, selectors.EVENT_READ)


def _asked(control: socket.socket) -> Program | None:
    files = array.array("i")
    data, ancillary, _, _ = control.recvmsg(
        MOST_BYTES, socket.CMSG_SPACE(MOST_FILES * files.itemsize)
    )
    if not data:
        return None
    for _, _, found in ancillary:
        files.frombytes(found)
    return Program(**json.loads(data), files=list(files))


def _tell_end(watch: int, pid: int, told: int) -> None:
    _, status, used = os.wait4(pid, 0)
    end = [os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime]
    try:
        os.write(told, json.dumps(end).encode() + b"\n")
    except BrokenPipeError:
        pass  # nobody wants to know
    os.close(told)
    os.close(watch)


def _run(program: Program, is_warm: bool) -> None:
    """Become the program; what it raises ends this process as it would end Python."""
    *files, told = program.files
    os.close(told)
    for number, file in enumerate(files):
        if file != number:
            os.dup2(file, number)
            os.close(file)
    if program.leads_session:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(program.environment)
    if "LISTEN_FDS" in os.environ:  # as systemd does, which has given it a fourth file
        os.environ["LISTEN_PID"] = str(os.getpid())
    random.seed()
    is_module = program.arguments[0] == "-m"
    sys.argv = program.arguments[is_module:]
    if not is_warm or not _are_settings_renewed():
        os.execve(sys.executable, [sys.executable, *program.arguments], os.environ)
    if is_module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def _are_settings_renewed() -> bool:
    """Read the settings from the environment as it is now, unless something imported needs others."""
    theirs = os.environ.get("DJANGO_SETTINGS_MODULE", OURS)
    if theirs not in {OURS, *BUILT_ON_OURS}:
        return False
    known: dict[str, Any] = dict(settings.__dict__)
    former: ModuleType = sys.modules.pop(OURS)
    arguments, umask = sys.argv, os.umask(0o077)  # as manage.py does before it reads them
    sys.argv = sys.argv[sys.argv[0] == TETHERED :]
    try:
        renewed = Settings(theirs)
    except Exception:  # noqa: BLE001 - which a Python that is started anew will raise again
        return False
    finally:
        sys.argv = arguments
        os.umask(umask)
        sys.modules.setdefault(OURS, former)
    if any(getattr(renewed, name) != known[name] for name in known.keys() - RENEWED):
        return False
    for name in known:
        settings.__dict__.pop(name)
    settings._wrapped = renewed
    _hand_on()
    return True


def _hand_on() -> None:
    """Give the settings to what has read them: connections, the log, Celery, the modes of the database's
    files.
    """
    from django.db import connections  # noqa: PLC0415 - after the settings
    from django.utils.log import configure_logging  # noqa: PLC0415

    vars(connections).clear()
    type(connections).__init__(connections)
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    if (celery := sys.modules.get(CELERY)) is not None:
        celery.app.conf.update(celery.configuration(settings.REDIS_URL))
    database_url.make_private(settings.DATABASES["default"])


if __name__ == "__main__":
    main()
