"""Change who may do what: members, invitations, roles of tenants' own, operators and their support.

Each function takes the `Access` of whoever asks for it. It raises PermissionDenied for what that does not
cover, and ValidationError, which names the fields, for what cannot be. Pages, commands and the management
API call nothing else.
"""
