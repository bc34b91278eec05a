"""Name what the demo is made of: tenants, models, aliases and their prices. All of it is made up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoTenant:
    slug: str
    name: str
    time_zone: str
    shows_upstreams: bool = True


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A provider's model: how quick it is, and what a million tokens of input, cached input and output cost
    in dollars; nothing where nobody has priced it."""

    provider: str
    name: str
    first_token_ms: int
    ms_per_token: float
    dollars: tuple[str, str, str] | None

    @property
    def target(self) -> str:
        return f"{self.provider}/{self.name}"


@dataclass(frozen=True, slots=True)
class DemoAlias:
    """An alias and what is asked of it: tokens are the usual number, shares are of a hundred calls."""

    name: str
    targets: tuple[str, ...]
    weight: int
    input_tokens: int
    output_tokens: int
    cached_percent: int = 0
    reasoning_percent: int = 0
    markup_percent: int = 20


TENANTS = (
    DemoTenant("northwind", "Northwind Robotics", "America/New_York"),
    DemoTenant("hansekontor", "Hansekontor Logistik", "Europe/Berlin"),
    DemoTenant("kaveri", "Kaveri Health", "Asia/Kolkata"),
    DemoTenant("lumen", "Lumen Studios", "UTC"),
    DemoTenant("sapporo", "Sapporo Mobility", "Asia/Tokyo", shows_upstreams=False),
    DemoTenant("annapurna", "Annapurna Travel", "Asia/Kathmandu"),
    DemoTenant("altiplano", "Altiplano Energy", "America/La_Paz"),
    DemoTenant("fjord", "Fjord Analytics", "Europe/Oslo"),
    DemoTenant("tasman", "Tasman Freight", "Australia/Adelaide"),
    DemoTenant("maple", "Maple Legal", "America/Toronto"),
    DemoTenant("atlas", "Atlas Insurance", "Africa/Casablanca"),
    DemoTenant("savanna", "Savanna Foods", "Africa/Nairobi"),
    DemoTenant("pampa", "Pampa Retail", "America/Argentina/Buenos_Aires"),
    DemoTenant("loire", "Loire Editions", "Europe/Paris"),
    DemoTenant("bosphorus", "Bosphorus Bank", "Europe/Istanbul"),
    DemoTenant("cascade", "Cascade Labs", "America/Los_Angeles"),
    DemoTenant("highland", "Highland Council", "Europe/London"),
    DemoTenant("orchid", "Orchid Hotels", "Asia/Singapore"),
    DemoTenant("meridian", "Meridian Media", "UTC", shows_upstreams=False),
    DemoTenant("quartz", "Quartz Mining", "Australia/Perth"),
)

MODELS = (
    DemoModel("openai", "gpt-5.5", 610, 13.0, ("1.25", "0.125", "10")),
    DemoModel("openai", "gpt-5-mini", 340, 6.5, ("0.25", "0.025", "2")),
    DemoModel("anthropic", "claude-sonnet-4-6", 780, 15.0, ("3", "0.3", "15")),
    DemoModel("anthropic", "claude-haiku-4-5", 410, 7.0, ("1", "0.1", "5")),
    DemoModel("groq", "llama-3.3-70b-versatile", 120, 3.2, ("0.59", "0.59", "0.79")),
    DemoModel("mistral", "mistral-large-2512", 450, 10.0, ("0.5", "0.5", "1.5")),
    DemoModel("mistral", "mistral-next", 520, 11.0, None),
    DemoModel("deepseek", "deepseek-v3.2", 900, 18.0, ("0.28", "0.028", "0.42")),
)

ALIASES = (
    DemoAlias("smart", ("openai/gpt-5.5", "anthropic/claude-sonnet-4-6"), 26, 2_400, 420, 55, 30),
    DemoAlias("fast", ("openai/gpt-5-mini", "groq/llama-3.3-70b-versatile"), 30, 900, 180, 40),
    DemoAlias(
        "coder", ("anthropic/claude-sonnet-4-6", "openai/gpt-5.5"), 14, 14_000, 900, 80, 0, 15
    ),
    DemoAlias("haiku", ("anthropic/claude-haiku-4-5",), 9, 1_600, 240, 30),
    DemoAlias("llama", ("groq/llama-3.3-70b-versatile",), 8, 700, 260),
    DemoAlias("mistral", ("mistral/mistral-large-2512", "openai/gpt-5-mini"), 5, 1_300, 380),
    DemoAlias("deepseek", ("deepseek/deepseek-v3.2",), 4, 3_100, 700, 35, 60, 30),
    DemoAlias("summaries", ("openai/gpt-5-mini",), 3, 9_000, 310, 10),
    DemoAlias("preview", ("mistral/mistral-next",), 1, 800, 200),
)

KEY_NAMES = (
    *("production", "staging", "ci", "support bot", "data pipeline", "mobile app", "notebooks"),
    *("search", "batch jobs", "internal tools", "evaluation", "partner API", "website chat"),
)
QUESTIONS = (
    ("Why is the sky blue?", "Sunlight scatters on air, blue far more than red."),
    (
        "Write a haiku about logs.",
        "Lines fall one by one / each a moment that has passed / grep remembers all.",
    ),
    (
        "Summarise this ticket in one sentence.",
        "The customer's parcel is in Hamburg and moves tomorrow.",
    ),
    (
        "Which index would help this query?",
        "One on (tenant, opened_at): it filters and sorts at once.",
    ),
    ("Translate 'good morning' into Nepali.", "शुभ प्रभात (śubha prabhāt)."),
)
