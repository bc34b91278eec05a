"""Make, change and remove the rows that people manage, for pages, the management API and files alike.

`resource.py` says what holds for each kind of row, `rows.py` has the three functions that write them.
"""

from __future__ import annotations

from tenants.managed.rows import Created, change, create, remove

__all__ = ["Created", "change", "create", "remove"]
