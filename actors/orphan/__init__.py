"""A file at a provider that nothing in the log needs, on its way out. `perdure.actors.file.orphans` finds them."""
