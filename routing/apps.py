from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = _("Routing")

    def ready(self) -> None:
        # Models can only be imported now.
        from routing import configuration as _kinds  # noqa: F401, PLC0415  # registers what files say
        from routing import managed as _managed  # noqa: F401, PLC0415  # registers what is managed
        from routing import price_configuration as _prices  # noqa: F401, PLC0415
        from routing import rerating as _rerating  # noqa: F401, PLC0415  # registers its kind of task
        from routing.reports import first_steps as _steps  # noqa: F401, PLC0415  # registers some
