"""Console pages of tenants, their people, keys and prices."""

from __future__ import annotations

from tenants import scoped_admin_checks as scoped_admin_checks  # registers its system check
from tenants.admin import billing as billing
from tenants.admin import budgets as budgets
from tenants.admin import keys as keys
from tenants.admin import limits as limits
from tenants.admin import people as people
from tenants.admin import prices as prices
from tenants.admin import tenants as tenants
from tenants.admin import usage as usage
