"""Route paths of tenants under /api/v1/."""

from __future__ import annotations

from django.urls import path

from tenants.api import (
    accounts,
    audit,
    configuration,
    long_work,
    money,
    people,
    reports,
    requests,
    series,
    sign_in,
    use,
    users,
)
from tenants.api.rows import routes

urlpatterns = [
    *routes("tenants", accounts.TenantRows),
    *routes("members", people.MemberRows),
    *routes("roles", people.RoleRows),
    *routes("invitations", people.InvitationRows),
    *routes("identity-providers", sign_in.IdentityProviderRows),
    *routes("identity-domains", sign_in.IdentityDomainRows),
    *routes("external-identities", users.ExternalIdentityRows),
    *routes("users", users.UserRows),
    *routes("sessions", users.SessionRows),
    *routes("support-sessions", users.SupportRows),
    path("configuration", configuration.ConfigurationView.as_view(), name="configuration"),
    *routes("audit", audit.EventRows),
    *routes("tokens", accounts.TokenRows),
    *routes("limits", money.LimitRows),
    *routes("budgets", money.BudgetRows),
    *routes("prices", money.PriceRows),
    path("usage", reports.UsageReportView.as_view(), name="usage"),
    path("requests", requests.RequestLogView.as_view(), name="requests"),
    path("requests/<str:key>", requests.RequestView.as_view(), name="requests-one"),
    path("reports/usage", series.UsageSeriesView.as_view(), name="reports_usage"),
    path("reports/overview", series.OverviewView.as_view(), name="reports_overview"),
    path("exports", long_work.ExportView.as_view(), name="exports"),
    *routes("tasks", long_work.TaskRows),
    *routes("usage/calls", use.UsageRows),
    *routes("usage/hours", use.HourRows),
    *routes("usage/days", use.DayRows),
    *routes("billing-periods", use.PeriodRows),
    *routes("invoices", use.InvoiceRows),
    *routes("billing-details", use.BillingDetailsRows),
    *routes("credit", use.CreditRows),
]
