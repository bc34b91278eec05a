"""serve_metrics: the port for Prometheus on a host without `serve`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway_project.serving.metrics import port
from gateway_project.serving.supervisor import PortInUse


class Command(BaseCommand):
    help = "Serve this host's metrics on TOLLGATE_METRICS_PORT, where no `serve` does."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for serve_forever in port.helper().values():
                self.stdout.write("Serving /metrics (stop with Ctrl-C).")
                serve_forever()
                return
        except PortInUse as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            return
        raise CommandError("TOLLGATE_METRICS_PORT is not set.")
