"""show_metrics: what Prometheus would be told of this host now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project.serving.metrics import report


class Command(BaseCommand):
    help = "Print the metrics of all processes of this host, as Prometheus reads them."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(report.from_settings().text().decode(), ending="")
        except OSError as error:
            raise CommandError(f"The metrics cannot be read: {error}.") from error
