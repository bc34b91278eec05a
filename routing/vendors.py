"""List the vendors Tollgate knows by name: what to set up if their key is in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TEXT = ("structured_output", "tools")
REASONING = ("reasoning", *TEXT)
EVERYTHING = ("files", "reasoning", "structured_output", "tools", "vision")
SEES_AND_THINKS = ("reasoning", "structured_output", "tools", "vision")


@dataclass(frozen=True, slots=True)
class StarterModel:
    """A model to begin with. Without an `alias` it is called by its own id."""

    id: str
    context_window: int | None
    capabilities: tuple[str, ...]
    alias: str = ""
    max_output_tokens: int | None = None

    @property
    def alias_name(self) -> str:
        return self.alias or self.id


@dataclass(frozen=True, slots=True)
class Vendor:
    """The template of a provider row. `name` becomes the provider's name and its vendor label."""

    name: str
    variable: str
    protocol: str
    base_url: str
    models: tuple[StarterModel, ...]
    auth_kind: str = "bearer"
    quirks: Mapping[str, str | bool] = field(default_factory=dict)


# These refuse or ignore `max_completion_tokens`.
MAX_TOKENS: Mapping[str, str | bool] = {"max_tokens_field": "max_tokens"}

VENDORS: tuple[Vendor, ...] = (
    # https://developers.openai.com/api/docs/models
    Vendor(
        name="openai",
        variable="OPENAI_API_KEY",
        protocol="responses",
        base_url="https://api.openai.com/v1",
        models=(
            StarterModel("gpt-5-mini", 400_000, EVERYTHING),
            StarterModel("gpt-5.5", 1_050_000, EVERYTHING),
            StarterModel("gpt-5.6-sol", 1_050_000, EVERYTHING),
        ),
    ),
    # https://developers.openai.com/api/reference/chat
    Vendor(
        name="openai-chat",
        variable="OPENAI_API_KEY",
        protocol="chat",
        base_url="https://api.openai.com/v1",
        models=(
            StarterModel("gpt-5-mini", 400_000, EVERYTHING, alias="gpt-5-mini-chat"),
            StarterModel("gpt-5.5", 1_050_000, EVERYTHING, alias="gpt-5.5-chat"),
        ),
    ),
    # https://platform.claude.com/docs/en/models/overview; Messages demands max_tokens, hence a default.
    Vendor(
        name="anthropic",
        variable="ANTHROPIC_API_KEY",
        protocol="anthropic",
        base_url="https://api.anthropic.com/v1",
        auth_kind="x-api-key",
        models=(
            StarterModel("claude-haiku-4-5", 200_000, EVERYTHING, max_output_tokens=32_000),
            StarterModel("claude-sonnet-5", 1_000_000, EVERYTHING, max_output_tokens=32_000),
            StarterModel("claude-opus-5", 1_000_000, EVERYTHING, max_output_tokens=32_000),
        ),
    ),
    # https://openrouter.ai/docs/features/model-routing
    Vendor(
        name="openrouter",
        variable="OPENROUTER_API_KEY",
        protocol="chat",
        base_url="https://openrouter.ai/api/v1",
        models=(StarterModel("openrouter/auto", None, TEXT, alias="openrouter-auto"),),
    ),
    # https://console.groq.com/docs/openai, https://console.groq.com/docs/models
    Vendor(
        name="groq",
        variable="GROQ_API_KEY",
        protocol="chat",
        base_url="https://api.groq.com/openai/v1",
        models=(
            StarterModel("openai/gpt-oss-120b", 131_072, REASONING, alias="groq-gpt-oss-120b"),
            StarterModel("openai/gpt-oss-20b", 131_072, REASONING, alias="groq-gpt-oss-20b"),
        ),
    ),
    # https://ai.google.dev/gemini-api/docs/openai, …/docs/models/gemini-3.8-flash
    Vendor(
        name="gemini",
        variable="GEMINI_API_KEY",
        protocol="chat",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        models=(
            StarterModel("gemini-3.8-flash", 1_048_576, EVERYTHING),
            StarterModel("gemini-3.7-flash", 1_048_576, EVERYTHING),
        ),
    ),
    # https://docs.mistral.ai/api/, https://docs.mistral.ai/getting-started/models/
    Vendor(
        name="mistral",
        variable="MISTRAL_API_KEY",
        protocol="chat",
        base_url="https://api.mistral.ai/v1",
        # Answers 422 extra_forbidden otherwise. Models that think give their content as a list of parts:
        # https://docs.mistral.ai/capabilities/reasoning
        quirks={**MAX_TOKENS, "translate": True},
        models=(
            StarterModel("mistral-small-latest", 128_000, SEES_AND_THINKS),
            StarterModel("mistral-medium-latest", 262_144, SEES_AND_THINKS),
        ),
    ),
    # https://api-docs.deepseek.com/quick_start/pricing
    Vendor(
        name="deepseek",
        variable="DEEPSEEK_API_KEY",
        protocol="chat",
        base_url="https://api.deepseek.com/v1",
        # A turn with tool calls is refused without the thoughts that led to them.
        quirks={**MAX_TOKENS, "reasoning_field": "reasoning_content"},
        models=(
            StarterModel("deepseek-flash", 1_000_000, ("reasoning", "tools", "vision")),
            StarterModel("deepseek-v4-pro", 1_000_000, ("reasoning", "tools")),
        ),
    ),
    # https://docs.x.ai/docs/models
    Vendor(
        name="xai",
        variable="XAI_API_KEY",
        protocol="chat",
        base_url="https://api.x.ai/v1",
        # Sources stand in `citations` beside the choices: https://docs.x.ai/docs/guides/live-search
        quirks={"translate": True},
        models=(StarterModel("grok-4.3", 1_000_000, SEES_AND_THINKS),),
    ),
    # https://docs.together.ai/docs/inference/openai-compatibility
    Vendor(
        name="together",
        variable="TOGETHER_API_KEY",
        protocol="chat",
        base_url="https://api.together.ai/v1",
        quirks=MAX_TOKENS,
        models=(
            StarterModel("openai/gpt-oss-20b", 131_072, REASONING, alias="together-gpt-oss-20b"),
        ),
    ),
)
