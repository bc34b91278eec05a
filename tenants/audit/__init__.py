"""Record who did what: events written with the change they tell of, chained, signed, kept and handed on."""
