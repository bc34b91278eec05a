"""`python -m bench`: measure, print a table of figures beside their targets.

Timed assertions are forbidden: a figure over its target is shown, and the exit code stays 0. Only calls that
failed, or that the gateway did not log, make it 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvloop

from bench import report
from bench.figures import Figure
from bench.load import LoadFailed
from bench.measuring import FULL, QUICK, Bench
from bench.processes import ROOT, NotReady
from bench.scenarios import SCENARIOS
from bench.stage import stage

JSON_FILE = ROOT / "var" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"


class CallsNotLogged(Exception):
    """The gateway logged a different number of calls than it answered."""


def main() -> int:
    options = _parser().parse_args()
    try:
        figures = uvloop.run(measure(options.only or list(SCENARIOS), quick=options.quick))
    except (LoadFailed, NotReady, CallsNotLogged, TimeoutError) as error:
        print(f"bench: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    under = report.conditions(_command())
    show = report.markdown if options.markdown else report.text
    print(show(figures, under), end="")
    if options.json:
        report.write_json(figures, under, JSON_FILE)
    if options.docs:
        report.replace_table(PAGE, report.markdown(figures, under))
    return 0


async def measure(names: list[str], *, quick: bool) -> list[Figure]:
    """Return the figures of these scenarios. Raise LoadFailed, NotReady or CallsNotLogged."""
    figures: list[Figure] = []
    with stage() as set_up:
        bench = Bench(set_up, QUICK if quick else FULL)
        try:
            for name in names:
                print(f"bench: {name} …", file=sys.stderr)
                figures += await SCENARIOS[name](bench)
        except LoadFailed:
            print(set_up.complaints(), file=sys.stderr)
            raise
        if set_up.logged_calls() != bench.sent_to_gateway:
            raise CallsNotLogged(f"{set_up.logged_calls()} lines, {bench.sent_to_gateway} calls")
    return figures


def _command() -> str:
    return " ".join(["python -m bench", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, with coarser figures")
    parser.add_argument(
        "--only", action="append", choices=SCENARIOS, metavar="NAME",
        help=f"only this scenario, repeatable: {', '.join(SCENARIOS)}",
    )  # fmt: skip
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", action="store_true", help=f"also write {_shown(JSON_FILE)}")
    parser.add_argument(
        "--docs", action="store_true", help=f"also put the table into {_shown(PAGE)}"
    )
    return parser


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT)


if __name__ == "__main__":
    sys.exit(main())
