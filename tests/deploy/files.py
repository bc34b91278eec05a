"""Read what deploy/ holds, as data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "chart" / "tollgate"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
OUR_SERVICES = {
    name: service
    for name, service in COMPOSE["services"].items()
    if "TOLLGATE_IMAGE" in service["image"]
}
# The drain, five seconds until what has not ended is killed, five for the ingester, and as many to spare.
SECONDS_BEYOND_THE_DRAIN = 15

_NAME = re.compile(r"\b(?:TOLLGATE_[A-Z_]*[A-Z]|DATABASE_URL|REDIS_URL)(?:_FILE)?\b")
# Of compose.yaml alone: where its files lie, which image, which address.
_OF_COMPOSE = {"TOLLGATE_HOME", "TOLLGATE_IMAGE", "TOLLGATE_LISTEN"}


def settings_named_in(*texts: str) -> set[str]:
    """Return the settings that texts name, without `_FILE`."""
    names = {name for text in texts for name in _NAME.findall(text)}
    return {name.removesuffix("_FILE") for name in names} - _OF_COMPOSE
