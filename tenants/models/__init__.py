"""The tables of tenants: who they are, what they may spend, and what they have spent."""

from tenants.models.accounts import (
    ApiKey,
    KeySecret,
    Tenant,
    default_scopes,
    new_key_id,
)
from tenants.models.audit import (
    AuditChain,
    AuditCheckpoint,
    AuditEvent,
    AuditPosition,
    FailedSignIns,
)
from tenants.models.billing import (
    BillingPeriod,
    CreditEntry,
    CreditTransaction,
    Invoice,
    InvoiceLine,
    InvoiceSequence,
    RetentionHorizon,
)
from tenants.models.billing_details import BillingDetails
from tenants.models.budgets import Budget, BudgetAlert, BudgetLease, BudgetWindow
from tenants.models.deletion import TenantDeletion
from tenants.models.identity import ExternalIdentity, IdentityDomain, IdentityProvider
from tenants.models.limits import RateLimit
from tenants.models.long_work import LongTask, TaskPiece
from tenants.models.members import (
    INVITED_FOR,
    BuiltInRole,
    CustomRole,
    Invitation,
    LastOwner,
    Membership,
    RoleHolder,
    without_owners,
)
from tenants.models.operations import AppliedObject, Heartbeat, KeyFingerprint
from tenants.models.operators import PlatformRole, SupportSession
from tenants.models.prices import PriceLine, PriceVersion
from tenants.models.refusals import RefusalHour, RefusedRequest
from tenants.models.rollups import (
    DirtyHour,
    EndUserDay,
    EndUserHour,
    KeyDay,
    ModelDay,
    ModelHour,
    SumsBackfill,
    UsageDay,
    UsageHour,
)
from tenants.models.sign_in import ConsoleSession
from tenants.models.tokens import ApiCreation, ApiToken
from tenants.models.usage import SpoolPosition, UsageRow
from tenants.revision import Revision

__all__ = [
    "INVITED_FOR",
    "ApiCreation",
    "ApiKey",
    "ApiToken",
    "AppliedObject",
    "AuditChain",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditPosition",
    "BillingDetails",
    "BillingPeriod",
    "Budget",
    "BudgetAlert",
    "BudgetLease",
    "BudgetWindow",
    "BuiltInRole",
    "ConsoleSession",
    "CreditEntry",
    "CreditTransaction",
    "CustomRole",
    "DirtyHour",
    "EndUserDay",
    "EndUserHour",
    "ExternalIdentity",
    "FailedSignIns",
    "Heartbeat",
    "IdentityDomain",
    "IdentityProvider",
    "Invitation",
    "Invoice",
    "InvoiceLine",
    "InvoiceSequence",
    "KeyDay",
    "KeyFingerprint",
    "KeySecret",
    "LastOwner",
    "LongTask",
    "Membership",
    "ModelDay",
    "ModelHour",
    "PlatformRole",
    "PriceLine",
    "PriceVersion",
    "RateLimit",
    "RefusalHour",
    "RefusedRequest",
    "RetentionHorizon",
    "Revision",
    "RoleHolder",
    "SpoolPosition",
    "SumsBackfill",
    "SupportSession",
    "TaskPiece",
    "Tenant",
    "TenantDeletion",
    "UsageDay",
    "UsageHour",
    "UsageRow",
    "default_scopes",
    "new_key_id",
    "without_owners",
]
