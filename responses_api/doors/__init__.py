"""Client formats: what each door accepts and how it validates it. No Django here."""
