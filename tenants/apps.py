from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate

from tenants import triggers


class TenantsConfig(AppConfig):
    name = "tenants"
    verbose_name = "Tenants"

    def ready(self) -> None:
        # The one place where Django offers nothing but a signal.
        pre_migrate.connect(triggers.before_migrate, sender=self, dispatch_uid="triggers")
        post_migrate.connect(triggers.after_migrate, sender=self, dispatch_uid="triggers")
