"""Budgets: marks that spending passes, each told once."""
