"""Views: what the log says about funds, programmes and organisations, added up beside it. Pure."""
