"""Settings, from the environment only (docs/settings.md). A bare checkout runs without any."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from gateway_project.lib import database_url, ids, keyring, mail_url, public_address, structure
from gateway_project.lib.client_address import TrustedProxies
from gateway_project.lib.env import SettingError
from gateway_project.lib.env import environment as env
from gateway_project.lib.keyring import Keyring, KeyringError

BASE_DIR = Path(__file__).resolve().parent.parent
# Help is read before anything is set up, and by people who may write nowhere.
ONLY_HELPS = sys.argv[1:2] == ["help"] or not {"-h", "--help"}.isdisjoint(sys.argv[1:])
# These import the console's pages when one is first asked for, if ever (gateway_project/console_urls.py).
LATE_CONSOLE = not {"serve", "background_worker", "beat"}.isdisjoint(sys.argv[1:2])
# A restore finds an empty directory, and brings the keys.
LEAVES_NO_TRACE = ONLY_HELPS or sys.argv[1:2] == ["restore"]
DATA_DIR = env.directory("TOLLGATE_DATA_DIR", BASE_DIR / "var", make=not LEAVES_NO_TRACE)


def _secret_key() -> str:
    """Return the operator's key, or one generated once into the data directory."""
    given = env.secret("TOLLGATE_SECRET_KEY")
    if given is not None:
        return given.reveal()
    path = DATA_DIR / "secret_key"
    if ONLY_HELPS or (LEAVES_NO_TRACE and not path.exists()):
        return ids.base62(60)
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
    """Refuse unusable keys from the environment now rather than at their first use."""
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
PUBLIC_URL = env.origin("TOLLGATE_PUBLIC_URL")
CONSOLE_HOSTS = env.host_names("TOLLGATE_CONSOLE_HOSTS", ())
ALLOWED_HOSTS = list(
    dict.fromkeys(
        [
            *env.host_names("TOLLGATE_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")),
            *CONSOLE_HOSTS,
            *([public_address.host_of(PUBLIC_URL)] if PUBLIC_URL else []),
        ]
    )
)
CSRF_FAILURE_VIEW = "gateway_project.csrf.refused"
CSRF_TRUSTED_ORIGINS = env.origins("TOLLGATE_TRUSTED_ORIGINS")
if PUBLIC_URL:
    CSRF_TRUSTED_ORIGINS += public_address.implied_origins(PUBLIC_URL, CONSOLE_HOSTS)
API_ORIGIN = env.origins("TOLLGATE_API_ORIGIN")[:1] or ([PUBLIC_URL] if PUBLIC_URL else [])

INSTALLED_APPS = [
    # First, so that its runserver replaces Django's. It brings twisted, which costs every other
    # process half a second and memory for nothing.
    *(["daphne"] if "runserver" in sys.argv else []),
    # Before the admin, whose templates it replaces. Plain "unfold" would replace our site, too.
    "unfold.apps.BasicAppConfig",
    "gateway_project.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "gateway_project.apps.AccountsConfig",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular_sidecar",  # static files only: the page of the management API
    "tenants",
    "routing",
    "responses_api",
    "gateway_project.apps.GatewayProjectConfig",
]
MIDDLEWARE = [
    "tenants.sign_in.middleware.ConsoleHostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "gateway_project.serving.static_files.LateStaticFiles",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "tenants.console.language.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tenants.access.middleware.ActorMiddleware",
    "tenants.sign_in.middleware.SignInMiddleware",
    "tenants.console.zones.ZoneMiddleware",
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
                "gateway_project.console.describe_console",
            ],
            # Instead of Django's, and with all of their tags; it is meant so, and not to be warned of.
            "libraries": dict.fromkeys(("i18n", "static"), "tenants.console.constant_tags"),
            "builtins": ["tenants.console.constant_tags"],
        },
    }
]
SILENCED_SYSTEM_CHECKS = ["templates.W003"]
FORM_RENDERER = "tenants.console.form_renderer.FormRenderer"
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
if not LEAVES_NO_TRACE:
    STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
# WhiteNoise streams files synchronously; that they are read whole first is fine for the console's few.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Of the console's pages (tenants/console/language.py); the API speaks English.
USE_I18N = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "gateway_project" / "locale"]
FORMAT_MODULE_PATH = ["gateway_project.formats"]
LANGUAGE_COOKIE_NAME = "tollgate_language"
LANGUAGE_COOKIE_AGE = 400 * 24 * 60 * 60  # the longest that browsers keep one
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
TIME_ZONE = "UTC"
USE_TZ = True

# Shown on every page of the console, so that nobody takes one installation for another.
ENVIRONMENT_LABEL = env.text("TOLLGATE_ENVIRONMENT_LABEL")[:40]

SECURE_COOKIES = env.boolean(
    "TOLLGATE_SECURE_COOKIES", default=(PUBLIC_URL or "").startswith("https://")
)
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
LANGUAGE_COOKIE_SECURE = SECURE_COOKIES
# Browsers take the prefix as a promise: over https, from this very host, for every path.
SESSION_COOKIE_NAME = "__Host-tollgate_session" if SECURE_COOKIES else "sessionid"
CSRF_COOKIE_NAME = "__Host-tollgate_csrf" if SECURE_COOKIES else "csrftoken"
SESSION_ENGINE = "tenants.sign_in.session_store"
SESSION_IDLE = env.duration("TOLLGATE_SESSION_IDLE", "30m")
SESSION_LIFETIME = env.duration("TOLLGATE_SESSION_LIFETIME", "12h")
SESSION_COOKIE_AGE = int(SESSION_LIFETIME.total_seconds())
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_COOKIES else None
# A year; subdomains are not ours to speak for. Sent with answers to requests that came over https only.
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if SECURE_COOKIES else 0
X_FRAME_OPTIONS = "DENY"
# docs/adr/0021-signing-in.md. Inline styles are widths of bars and places of the theme's menus
# (docs/adr/0022-theme.md); no script is ever inline.
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/v1/", "/openai/v1/"],  # no browser renders JSON
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    },
}
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

# Signing in to the console (docs/security.md, tenants/sign_in)

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "tenants.sign_in.adapter.ConsoleAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True  # until it ends by itself; see SESSION_LIFETIME
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # strangers cannot make us write to anybody
ACCOUNT_REAUTHENTICATION_METHODS = {"password", "mfa"}
ACCOUNT_REAUTHENTICATION_TIMEOUT = 10 * 60
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # of the others only (tenants/sign_in/sessions.py)
IDENTITY_HTTP = "gateway_project.identity_http.fetch"
MFA_ADAPTER = "tenants.sign_in.second_factor.ConsoleFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # accounts are made by people who know theirs
MFA_TOTP_ISSUER = "Tollgate"
MFA_TOTP_TOLERANCE = 1  # a telephone's clock may be 30 seconds off
ACCOUNT_FORMS = {"change_password": "tenants.sign_in.forms.OwnPasswordForm"}
MFA_FORMS = {"add_webauthn": "tenants.sign_in.forms.AddPasskeyForm"}
MFA_RATE_LIMITS = {"webauthn_login": "60/m/ip"}

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["responses_api.resources.rest.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["responses_api.resources.rest.HasKey"],
    "DEFAULT_RENDERER_CLASSES": ["gateway_project.lib.rest_json.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    # SDKs send any Accept header, also for JSON (docs/wire.md 2.3): never answer 406.
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "gateway_project.lib.rest_json.AlwaysJson",
    "EXCEPTION_HANDLER": "responses_api.resources.rest.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

# Tollgate

REDIS_URL = env.redis_url("REDIS_URL")
# Holds how often somebody guessed, which has to be known to every worker.
CACHES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    if REDIS_URL is None
    else {
        "BACKEND": "gateway_project.lib.shared_cache.SharedCache",
        "LOCATION": REDIS_URL.reveal(),
        "KEY_PREFIX": "tollgate:cache",
    }
}
TASKS = env.choice("TOLLGATE_TASKS", ("embedded", "celery"), "embedded")
if TASKS == "celery" and REDIS_URL is None:
    raise SettingError("TOLLGATE_TASKS is 'celery', which needs REDIS_URL.")
SPOOL_DIR = env.directory("TOLLGATE_SPOOL_DIR", DATA_DIR / "spool")
SPOOL_LEAST_FREE_PERCENT = env.integer("TOLLGATE_SPOOL_LEAST_FREE_PERCENT", 5, at_most=100)
SPOOL_ARCHIVE_DAYS = env.integer("TOLLGATE_SPOOL_ARCHIVE_DAYS", 35, at_most=36_500)
BACKUP_PASSPHRASE = env.secret("TOLLGATE_BACKUP_PASSPHRASE")
BACKUP_MAX_AGE = env.duration("TOLLGATE_BACKUP_MAX_AGE", "26h")
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
API_LIMITS = env.rates("TOLLGATE_API_LIMITS", "600 requests/minute", only="requests")
LIMITS_WITHOUT_REDIS: Any = env.choice(
    "TOLLGATE_LIMITS_WITHOUT_REDIS", ("share", "refuse"), "share"
)
SANDBOX_PORT = env.integer("TOLLGATE_SANDBOX_PORT", 8090, at_least=1, at_most=65_535)
MAX_BODY_BYTES = env.integer("TOLLGATE_MAX_BODY_BYTES", 32 * 1024 * 1024, at_least=1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
USAGE_COST = env.boolean("TOLLGATE_USAGE_COST")
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
CACHE_MEMORY_BYTES = env.integer("TOLLGATE_CACHE_MEMORY_BYTES", 32 * 1024 * 1024)
CACHE_TENANT_BYTES = env.integer(
    "TOLLGATE_CACHE_TENANT_BYTES", 256 * 1024 * 1024, at_least=1024 * 1024
)
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
GUARDRAIL_EVENT_DAYS = env.integer("TOLLGATE_GUARDRAIL_EVENT_DAYS", 90, at_least=1, at_most=36_500)
REFUSAL_DAYS = env.integer("TOLLGATE_REFUSAL_DAYS", 30, at_least=1, at_most=36_500)
SUPPORT_MINUTES = env.integer("TOLLGATE_SUPPORT_MINUTES", 60, at_least=1, at_most=24 * 60)
AUDIT_DAYS = env.integer("TOLLGATE_AUDIT_DAYS", 400, at_most=36_500)
AUDIT_WEBHOOK = env.secret("TOLLGATE_AUDIT_WEBHOOK")
AUDIT_WEBHOOK_SECRET = env.secret("TOLLGATE_AUDIT_WEBHOOK_SECRET")
if AUDIT_WEBHOOK is not None and not AUDIT_WEBHOOK.reveal().startswith(("https://", "http://")):
    raise SettingError("TOLLGATE_AUDIT_WEBHOOK must begin with https:// or http://.")
if AUDIT_WEBHOOK is not None and AUDIT_WEBHOOK_SECRET is None:
    raise SettingError("TOLLGATE_AUDIT_WEBHOOK is set; it needs TOLLGATE_AUDIT_WEBHOOK_SECRET.")
AUDIT_SYSLOG = env.syslog_address("TOLLGATE_AUDIT_SYSLOG")
TRUSTED_PROXIES = TrustedProxies(env.networks("TOLLGATE_TRUSTED_PROXIES"))

# Metrics for Prometheus (docs/observability.md)

METRICS_PORT = env.port("TOLLGATE_METRICS_PORT")
METRICS_HOST = env.text("TOLLGATE_METRICS_HOST", "127.0.0.1")
METRICS_TOKEN = env.secret("TOLLGATE_METRICS_TOKEN")
if METRICS_TOKEN is not None and len(METRICS_TOKEN.reveal()) < 16:
    raise SettingError("TOLLGATE_METRICS_TOKEN is shorter than 16 characters.")
METRICS_TENANTS = env.integer("TOLLGATE_METRICS_TENANTS", 0, at_most=1000)
METRICS_GEN_AI = env.boolean("TOLLGATE_METRICS_GEN_AI")
METRICS_SERIES = env.integer("TOLLGATE_METRICS_SERIES", 10_000, at_least=100, at_most=1_000_000)
METRICS_DIR = DATA_DIR / "metrics"
IS_MEASURED = METRICS_PORT is not None or METRICS_TOKEN is not None
MEASURED_DIR = METRICS_DIR if IS_MEASURED else None  # of processes that tell what they count
OTLP_ENDPOINT = env.otlp_endpoint("TOLLGATE_OTLP_ENDPOINT", "TOLLGATE_OTLP_HEADERS")
TRACES_RATIO = env.ratio("TOLLGATE_TRACES_RATIO", 0.1)

LOG_FORMAT = env.choice("TOLLGATE_LOG_FORMAT", ("auto", "json", "console"), "auto")
LOG_LEVEL = env.choice("TOLLGATE_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "gateway_project.lib.log.JsonFormatter"},
        "console": {"()": "gateway_project.lib.log.ConsoleFormatter"},
    },
    "filters": {"refusals": {"()": "gateway_project.lib.log.RefusedByDjango"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["refusals"],
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
