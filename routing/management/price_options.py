"""Take a price from the command line: what it is of, and in dollars."""

from __future__ import annotations

from django.core.management.base import CommandParser

from routing import price_setting


def add_price_options(parser: CommandParser) -> None:
    parser.add_argument("--alias", help="what tenants are charged for this alias")
    parser.add_argument("--tenant", help="only this tenant; every tenant when not given")
    parser.add_argument("--provider", help="what a model of this provider costs us")
    parser.add_argument("--model", help="the provider's name for the model")
    for option in price_setting.CLASSES:
        parser.add_argument(
            f"--{option.replace('_', '-')}",
            required=option in {"input", "output"},
            metavar="DOLLARS",
            help="per million tokens, for example 3.00",
        )
    parser.add_argument(
        "--unit",
        action="append",
        metavar="UNIT=DOLLARS",
        help="of another unit, such as images=0.04; repeatable",
    )
