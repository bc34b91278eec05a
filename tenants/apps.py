"""Start the app: keep the database's triggers, and record changes in the audit log."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _

from tenants import triggers


class TenantsConfig(AppConfig):
    name = "tenants"
    verbose_name = _("Tenants")

    def ready(self) -> None:
        # Models can only be imported now. Tables and tokens register what is managed and what files say.
        from tenants.audit import changes, sign_ins  # noqa: PLC0415
        from tenants.configuration import tables as _kinds  # noqa: F401, PLC0415
        from tenants.deletion import asking as deletion  # noqa: PLC0415
        from tenants.deletion import guards  # noqa: PLC0415
        from tenants.long_work import asking as long_work  # noqa: PLC0415
        from tenants.long_work import usage_export as _exports  # noqa: F401, PLC0415
        from tenants.managed import tables as _tables  # noqa: F401, PLC0415
        from tenants.managed import tokens as _tokens  # noqa: F401, PLC0415
        from tenants.members import last_operator as _operators  # noqa: F401, PLC0415
        from tenants.walls import walls  # noqa: PLC0415

        changes.connect()
        sign_ins.connect()
        deletion.add_ending(long_work.end_for_deleted)
        triggers.add(walls.GUARD)
        triggers.add(guards.GUARD)
        # The one place where Django offers nothing but a signal.
        pre_migrate.connect(triggers.before_migrate, sender=self, dispatch_uid="triggers")
        post_migrate.connect(triggers.after_migrate, sender=self, dispatch_uid="triggers")
        post_migrate.connect(walls.report_strays, sender=self, dispatch_uid="strays")
