"""Which side of every normal is outside."""
