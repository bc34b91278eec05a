"""Settings, from the environment only (docs/settings.md). A bare checkout runs without any."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from gateway_project.lib import database_url, ids, keyring, mail_url, structure
from gateway_project.lib.client_address import TrustedProxies
from gateway_project.lib.env import SettingError
from gateway_project.lib.env import environment as env
from gateway_project.lib.keyring import Keyring, KeyringError

BASE_DIR = Path(__file__).resolve().parent.parent
# Help is read before anything is set up, and by people who may write nowhere.
ONLY_HELPS = sys.argv[1:2] == ["help"] or not {"-h", "--help"}.isdisjoint(sys.argv[1:])
DATA_DIR = env.directory("TOLLGATE_DATA_DIR", BASE_DIR / "var", make=not ONLY_HELPS)


def _secret_key() -> str:
    """Given by the operator, or generated once into the data directory."""
    given = env.secret("TOLLGATE_SECRET_KEY")
    if given is not None:
        return given.reveal()
    if ONLY_HELPS:
        return ids.base62(60)
    path = DATA_DIR / "secret_key"
    try:
        if not path.exists():
            keyring.create_private(path, ids.base62(60))
        found = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingError(
            f"TOLLGATE_SECRET_KEY is not set, and {path}: {error.strerror}."
        ) from error
    if not found:
        raise SettingError(
            f"TOLLGATE_SECRET_KEY is not set, and {path} is empty; remove it, or set the variable."
        )
    return found


def _keyring(variable: str, file_name: str) -> Keyring:
    given = env.secret(variable)
    if given is not None:
        return keyring.from_environment(given, variable)
    return keyring.from_file(DATA_DIR / file_name)


def _refuse_unusable_keys(variable: str) -> None:
    """Keys are read when they are needed; what is wrong with those of the environment is told at once."""
    given = env.secret(variable)
    try:
        if given is not None:
            keyring.parse(given.reveal(), variable)
    except KeyringError as error:
        raise SettingError(str(error)) from error


KEY_ENCRYPTION_KEYS_FILE = "key_encryption_keys"


def KEY_PEPPERS() -> Keyring:
    return _keyring("TOLLGATE_KEY_PEPPERS", "key_peppers")


def KEY_ENCRYPTION_KEYS() -> Keyring:
    return _keyring("TOLLGATE_KEY_ENCRYPTION_KEYS", KEY_ENCRYPTION_KEYS_FILE)


for _variable in ("TOLLGATE_KEY_PEPPERS", "TOLLGATE_KEY_ENCRYPTION_KEYS"):
    _refuse_unusable_keys(_variable)


# Django

SECRET_KEY = _secret_key()
DEBUG = env.boolean("TOLLGATE_DEBUG", default=False)
ALLOWED_HOSTS = env.host_names("TOLLGATE_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_FAILURE_VIEW = "gateway_project.csrf.refused"
CSRF_TRUSTED_ORIGINS = env.origins("TOLLGATE_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    # First, so that its runserver replaces Django's. It brings twisted, which costs every other
    # process half a second and memory for nothing.
    *(["daphne"] if "runserver" in sys.argv else []),
    "gateway_project.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "tenants",
    "routing",
    "responses_api",
    "gateway_project.apps.GatewayProjectConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "gateway_project.urls"
ASGI_APPLICATION = "gateway_project.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
if not ONLY_HELPS:
    STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
# WhiteNoise streams files synchronously; that they are read whole first is fine for the console's few.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

SECURE_COOKIES = env.boolean("TOLLGATE_SECURE_COOKIES", default=False)
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_AGE = 12 * 60 * 60
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_COOKIES else None
# A year; subdomains are not ours to speak for. Sent with answers to requests that came over https only.
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if SECURE_COOKIES else 0
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True

_database_url = env.secret("DATABASE_URL")
DATABASES: dict[str, dict[str, Any]] = {
    "default": database_url.parse(_database_url)
    if _database_url is not None
    else database_url.sqlite(DATA_DIR / "tollgate.sqlite3")
}

SMTP_URL = env.secret("TOLLGATE_SMTP_URL")
if SMTP_URL is not None:
    globals().update(mail_url.parse(SMTP_URL))
EMAIL_TIMEOUT = mail_url.TIMEOUT_SECONDS
DEFAULT_FROM_EMAIL = env.mail_address("TOLLGATE_MAIL_FROM", "tollgate@localhost")

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["responses_api.rest.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["responses_api.rest.HasKey"],
    "DEFAULT_RENDERER_CLASSES": ["responses_api.rest.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    # SDKs send any Accept header, also for JSON (docs/wire.md 2.3): never answer 406.
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "responses_api.rest.AlwaysJson",
    "EXCEPTION_HANDLER": "responses_api.rest.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

# Tollgate

REDIS_URL = env.redis_url("REDIS_URL")
TASKS = env.choice("TOLLGATE_TASKS", ("embedded", "celery"), "embedded")
if TASKS == "celery" and REDIS_URL is None:
    raise SettingError("TOLLGATE_TASKS is 'celery', which needs REDIS_URL.")
SPOOL_DIR = env.directory("TOLLGATE_SPOOL_DIR", DATA_DIR / "spool")
SPOOL_LEAST_FREE_PERCENT = env.integer("TOLLGATE_SPOOL_LEAST_FREE_PERCENT", 5, at_most=100)
SPOOL_ARCHIVE_DAYS = env.integer("TOLLGATE_SPOOL_ARCHIVE_DAYS", 35, at_most=36_500)
DURABILITY: Any = env.choice("TOLLGATE_DURABILITY", ("process", "power"), "process")
BACKGROUND_RUNS = env.integer("TOLLGATE_BACKGROUND_RUNS", 256, at_least=1)
BACKGROUND_QUEUE_SECONDS = env.seconds("TOLLGATE_BACKGROUND_QUEUE_SECONDS", 600, at_least=1)
WORKERS = env.integer("TOLLGATE_WORKERS", 1, at_least=1, at_most=1024)
MAX_CONNECTIONS = env.integer("TOLLGATE_MAX_CONNECTIONS", 8192, at_least=1)
MAX_CONNECTIONS_PER_ADDRESS = env.integer("TOLLGATE_MAX_CONNECTIONS_PER_ADDRESS", 1024, at_least=1)
MAX_HEAD_BYTES = env.integer("TOLLGATE_MAX_HEAD_BYTES", 64 * 1024, at_least=1024, at_most=2**20)
HEAD_SECONDS = env.seconds("TOLLGATE_HEAD_SECONDS", 10, at_least=0.01)
IDLE_CONNECTION_SECONDS = env.seconds("TOLLGATE_IDLE_CONNECTION_SECONDS", 75, at_least=0.01)
BODY_BYTES_PER_SECOND = env.integer("TOLLGATE_BODY_BYTES_PER_SECOND", 1000, at_most=10**9)
KEY_LIMITS = env.rates("TOLLGATE_KEY_LIMITS")
IP_LIMITS = env.rates("TOLLGATE_IP_LIMITS", only="requests")
FAILED_AUTH_LIMIT = env.rates("TOLLGATE_FAILED_AUTH_LIMIT", "100 requests/minute", only="requests")
LIMITS_WITHOUT_REDIS: Any = env.choice(
    "TOLLGATE_LIMITS_WITHOUT_REDIS", ("share", "refuse"), "share"
)
SANDBOX_PORT = env.integer("TOLLGATE_SANDBOX_PORT", 8090, at_least=1, at_most=65_535)
MAX_BODY_BYTES = env.integer("TOLLGATE_MAX_BODY_BYTES", 32 * 1024 * 1024, at_least=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
MAX_CHOICES = env.integer("TOLLGATE_MAX_CHOICES", 128, at_least=1)
CAPS = structure.Caps(
    values=env.integer("TOLLGATE_MAX_JSON_VALUES", structure.Caps().values, at_least=1000),
    keys=env.integer("TOLLGATE_MAX_JSON_KEYS", structure.Caps().keys, at_least=1000),
    depth=env.integer("TOLLGATE_MAX_JSON_DEPTH", structure.Caps().depth, at_least=16),
    items=env.integer("TOLLGATE_MAX_ITEMS", structure.Caps().items, at_least=1),
    parts=env.integer("TOLLGATE_MAX_PARTS", structure.Caps().parts, at_least=1),
    tools=env.integer("TOLLGATE_MAX_TOOLS", structure.Caps().tools, at_least=1),
)
if CAPS.depth > structure.GREATEST_DEPTH:
    raise SettingError(
        f"TOLLGATE_MAX_JSON_DEPTH is {CAPS.depth}; expected at most {structure.GREATEST_DEPTH}."
    )
MAX_UPSTREAM_VALUES = env.integer("TOLLGATE_MAX_UPSTREAM_VALUES", 1_000_000, at_least=1000)
MAX_HISTORY_BYTES = env.integer("TOLLGATE_MAX_HISTORY_BYTES", 64 * 1024 * 1024, at_least=1024)
LARGE_BODY_BYTES = env.integer("TOLLGATE_LARGE_BODY_BYTES", 1024 * 1024, at_least=1024)
LARGE_BODIES = env.integer("TOLLGATE_LARGE_BODIES", 16, at_least=1)
LARGE_BODIES_PER_KEY = env.integer("TOLLGATE_LARGE_BODIES_PER_KEY", 4, at_least=1)
LARGE_BODY_WAIT_SECONDS = env.seconds("TOLLGATE_LARGE_BODY_WAIT_SECONDS", 10)
MAX_REPLAY_BYTES = env.integer("TOLLGATE_MAX_REPLAY_BYTES", 16 * 1024 * 1024, at_least=1024)
BODY_STALL_SECONDS = env.seconds("TOLLGATE_BODY_STALL_SECONDS", 10)
CONNECT_SECONDS = env.seconds("TOLLGATE_CONNECT_SECONDS", 5)
POOL_WAIT_SECONDS = env.seconds("TOLLGATE_POOL_WAIT_SECONDS", 2)
FIRST_BYTE_SECONDS = env.seconds("TOLLGATE_FIRST_BYTE_SECONDS", 60)
IDLE_SECONDS = env.seconds("TOLLGATE_IDLE_SECONDS", 120)
TOTAL_SECONDS = env.seconds("TOLLGATE_TOTAL_SECONDS", 600)
TOTAL_STREAM_SECONDS = env.seconds("TOLLGATE_TOTAL_STREAM_SECONDS", 3600)
COMMIT_SECONDS = env.seconds("TOLLGATE_COMMIT_SECONDS", 15)
KEEPALIVE_SECONDS = env.seconds("TOLLGATE_KEEPALIVE_SECONDS", 15)
# The kernel keeps it too, as milliseconds in 32 bits.
SEND_STALL_SECONDS = env.seconds("TOLLGATE_SEND_STALL_SECONDS", 60, at_most=2_000_000)
WEBSOCKET_SECONDS = env.seconds("TOLLGATE_WEBSOCKET_SECONDS", 3600)
WEBSOCKET_MEMORY_BYTES = env.integer(
    "TOLLGATE_WEBSOCKET_MEMORY_BYTES", 32 * 1024 * 1024, at_least=0
)
DRAIN_SECONDS = env.seconds("TOLLGATE_DRAIN_SECONDS", 30)
MAX_UPSTREAM_CONNECTIONS = env.integer("TOLLGATE_MAX_UPSTREAM_CONNECTIONS", 4096, at_least=1)
REVISION_POLL_SECONDS = env.seconds("TOLLGATE_REVISION_POLL_SECONDS", 0.5, at_least=0.01)
BILLING_GRACE = env.duration("TOLLGATE_BILLING_GRACE", "24h")
USAGE_DAYS = env.integer("TOLLGATE_USAGE_DAYS", 400, at_least=1, at_most=36_500)
TRUSTED_PROXIES = TrustedProxies(env.networks("TOLLGATE_TRUSTED_PROXIES"))

LOG_FORMAT = env.choice("TOLLGATE_LOG_FORMAT", ("auto", "json", "console"), "auto")
LOG_LEVEL = env.choice("TOLLGATE_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "gateway_project.lib.log.JsonFormatter"},
        "console": {"()": "gateway_project.lib.log.ConsoleFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "console"
            if LOG_FORMAT == "console" or (LOG_FORMAT == "auto" and sys.stderr.isatty())
            else "json",
        }
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # any scanner causes it
        "httpx": {"level": "WARNING"},
        # A line for every second in which there was nothing to do; failures are errors.
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
    },
}
logging.captureWarnings(True)

UNKNOWN_VARIABLES = env.unknown()
