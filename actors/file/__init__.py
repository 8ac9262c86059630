"""A file: content under an id, with a copy at each provider that was asked to have one."""
