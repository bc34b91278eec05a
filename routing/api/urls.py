"""Route paths of routing under /api/v1/."""

from __future__ import annotations

from django.urls import path

from routing.api import catalogue, figures, keys, prices, reratings, setup
from tenants.api.rows import routes

# What is no row's stands first: its names could be keys.
urlpatterns = [
    path("providers/figures", figures.ProviderFiguresView.as_view(), name="providers-figures"),
    path("providers/setup", setup.SetUpView.as_view(), name="providers-setup"),
    path("providers/setup/test", setup.TryOutView.as_view(), name="providers-setup-test"),
    path("aliases/figures", figures.AliasFiguresView.as_view(), name="aliases-figures"),
    path("effective-prices", prices.EffectivePricesView.as_view(), name="effective-prices"),
    path("price-preview", prices.PricePreviewView.as_view(), name="price-preview"),
    path("price-import", prices.PriceImportView.as_view(), name="price-import"),
    path("reratings", reratings.ReratingView.as_view(), name="reratings"),
    *routes("providers", catalogue.ProviderRows),
    *routes("credentials", catalogue.CredentialRows),
    *routes("models", catalogue.ModelRows),
    *routes("aliases", catalogue.AliasRows),
    *routes("targets", catalogue.TargetRows),
    *routes("grants", catalogue.GrantRows),
    *routes("keys", keys.WholeKeyRows),
]
