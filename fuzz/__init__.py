"""Hostile requests in numbers, against a server of its own: `make fuzz`."""
