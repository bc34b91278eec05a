"""show_usage_series: usage over time."""

from __future__ import annotations

from tenants.api.series import UsageSeriesView
from tenants.management.questions import AskCommand


class Command(AskCommand):
    help = "Show usage over time, in groups; of the last 30 days by alias if nothing else is asked for."
    view = UsageSeriesView
    for_programs = ("buckets", "series")
    routes = ("GET reports/usage",)
