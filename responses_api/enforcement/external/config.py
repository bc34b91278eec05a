"""Read the configuration of external checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from responses_api.enforcement.external import moderation

Dialect = Literal["tollgate", "litellm"]
OutputMode = Literal["whole", "windows"]


class ModerationConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of a moderation service.

    model        the name of its model
    thresholds   by category the score from which a text may not pass; of others the service's flag counts
    output       how an answer is held: whole, or window by window
    """

    model: str = moderation.DEFAULT_MODEL
    thresholds: dict[str, float] = {}
    output: OutputMode = "windows"


class WebhookConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of a webhook. `auth`: how a secret travels in the dialect `litellm`; ours signs."""

    dialect: Dialect = "tollgate"
    auth: Literal["x-api-key", "bearer"] = "x-api-key"
    output: OutputMode = "whole"


Config = ModerationConfig | WebhookConfig
_TYPES: Mapping[str, type[Config]] = {"moderation": ModerationConfig, "webhook": WebhookConfig}


def read_config(kind: str, given: Any) -> Config:
    """Return the configuration. Raise ValueError saying what is wrong with it."""
    config: Config = msgspec.convert(given, _TYPES[kind])
    if isinstance(config, ModerationConfig):
        if not 0 < len(config.model) <= 200:
            raise ValueError("'model' is the name of a model")
        for name, score in config.thresholds.items():
            if not 0 < score <= 1 or not 0 < len(name) <= 100:
                raise ValueError(f"the threshold of {name[:100]!r} is a number above 0, at most 1")
        if len(config.thresholds) > 100:
            raise ValueError("'thresholds' has more than 100 categories")
    return config
