"""A file at a provider: uploaded once, found again after a crash."""
