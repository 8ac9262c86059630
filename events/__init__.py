"""See the folder map in README."""
