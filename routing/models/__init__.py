"""Define providers, their credentials and models, and the aliases clients call them by.

Rows without a tenant belong to the platform and serve every tenant; rows of a tenant serve it alone and
win over the platform's of the same name. A tenant reaches what the platform offers by the platform's
aliases only, because those are what it is charged for: an alias of its own is a link to one of them, or
leads to providers of its own.
"""

from routing.models.aliases import Alias, AliasGrant, Target, usual_fall_backs
from routing.models.owned import OwnedModel
from routing.models.providers import (
    Credential,
    Provider,
    ProviderModel,
    UpstreamTest,
    protocol_choices,
)

__all__ = [
    "Alias",
    "AliasGrant",
    "Credential",
    "OwnedModel",
    "Provider",
    "ProviderModel",
    "Target",
    "UpstreamTest",
    "protocol_choices",
    "usual_fall_backs",
]
