"""Let people sign in to the console: passwords, second factors, passkeys, sessions."""
