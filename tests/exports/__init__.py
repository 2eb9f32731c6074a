"""Exports, each held against the programs and schemas that strangers check it with."""
