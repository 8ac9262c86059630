"""The runtime: actors live here.

`runtime` puts it together and is what others use. `slot` is one actor in memory, `aggregate` and `supervision` fold it,
`loader` reads it, `residents` lets go of it; `driving` runs its turns, `turn` judges one. `effects` matches what goes
on outside with what is committed, `lanes` and `schedule` say when an effect may start, `waking` looks at what is due.
`restating` recomputes rows after a change of fold, `hints` wakes those who wait.
"""
