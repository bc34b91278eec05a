"""Routes of the console. Loaded with its first request, and its pages with them: a gateway that is only asked
for answers of models needs none of it in memory.
"""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path
from django.urls.resolvers import RoutePattern

from tenants.views.invitations import accept_invitation
from tenants.views.live import answer_topic

# Servers leave the pages to this module, everything else has them since it was set up (apps.ConsoleConfig).
admin.autodiscover()

urlpatterns: list[URLPattern | URLResolver] = [
    path("invitations/<str:token>/", accept_invitation, name="accept_invitation"),
    # By its name: whatever looks for an address needs it, and a page that is asked for only its own.
    URLResolver(RoutePattern("accounts/"), "tenants.sign_in.urls"),
    path("live/<slug:name>/", answer_topic, name="live_topic"),
    path("", admin.site.urls),
]
