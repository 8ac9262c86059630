"""The runtime: actors live here.

`aggregate` folds, `supervision` counts failures, `slot` is one actor in memory, `lanes` and `schedule` say when an
effect may start, `hints` wakes those who wait, `loader` reads actors in groups, `runtime` puts them together.
"""
