"""`python -m bench.chaos`: exit code 1 if a call was lost, booked twice or mispriced, or if sums disagree."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.chaos import report
from bench.chaos.run import CLIENTS, Outcome, Plan, run
from bench.chaos.stage import stage
from bench.processes import NotReady

PAUSE_SECONDS = (0.05, 0.45)


def main() -> int:
    options = _parser().parse_args()
    # Told to end, it ends what it has started: the PostgreSQL that is to crash is no child of anybody.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    workers = options.workers or (2 if os.environ.get("REDIS_URL") else 1)
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    plan = Plan(
        options.seconds, workers, (options.least_pause, options.most_pause), seed,
        options.control, options.clients, options.budget and int(options.budget * 10**9),
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="tollgate-chaos-"))
    try:
        with stage(folder, options.database, plan.amount_nano, options.crash_database) as made:
            outcome = uvloop.run(run(made, plan))
    except NotReady as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1
    where = options.database
    if options.crash_database:
        where = f"postgres with synchronous_commit = {options.crash_database}"
    print(report.text(outcome, plan, where), end="", flush=True)
    code = _code(outcome, expects_loss=options.expect_loss)
    if code == 0 and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs and spools are in {folder}")
    return code


def _code(outcome: Outcome, *, expects_loss: bool) -> int:
    if expects_loss:
        return 0 if outcome.findings.lost else 1
    return 0 if outcome.is_clean else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument(
        "--crash-database", choices=("on", "off"), metavar="SYNCHRONOUS_COMMIT",
        help="use a PostgreSQL of its own, with this setting (on or off), and crash it too",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, help="2 with REDIS_URL, otherwise 1")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--least-pause", type=float, default=PAUSE_SECONDS[0], metavar="SECONDS")
    parser.add_argument("--most-pause", type=float, default=PAUSE_SECONDS[1], metavar="SECONDS")
    parser.add_argument(
        "--budget", type=float, metavar="DOLLARS", help="a hard budget that is to end mid-run"
    )
    parser.add_argument("--seed", type=int, help="of all chance; a random one is printed")
    parser.add_argument("--control", action="store_true", help="lose data on purpose")
    parser.add_argument("--expect-loss", action="store_true", help="exit 0 only if data was lost")
    parser.add_argument("--keep", action="store_true", help="keep logs, spools and database file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
