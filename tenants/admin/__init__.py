"""Console pages of tenants, their people, keys and prices."""

from __future__ import annotations

from tenants.admin import audit as audit
from tenants.admin import billing as billing
from tenants.admin import billing_details as billing_details
from tenants.admin import budgets as budgets
from tenants.admin import identity as identity
from tenants.admin import invitations as invitations
from tenants.admin import invoices as invoices
from tenants.admin import keys as keys
from tenants.admin import limits as limits
from tenants.admin import long_work as long_work
from tenants.admin import overview as overview
from tenants.admin import people as people
from tenants.admin import periods as periods
from tenants.admin import prices as prices
from tenants.admin import requests as requests
from tenants.admin import roles as roles
from tenants.admin import search as search
from tenants.admin import support as support
from tenants.admin import tenants as tenants
from tenants.admin import tokens as tokens
from tenants.admin import usage as usage
from tenants.admin import usage_over_time as usage_over_time
from tenants.console import scoped_admin_checks as scoped_admin_checks  # registers its system check
