"""Real media that the simulated models make, and the operations that take a while to make it.

`pictures` draws PNG, JPEG and WebP, `sounds` speaks in tones, `clips` films, `shelf` makes what is asked for and keeps
it a while; `sales` puts it on the account; `operations` says how a video goes, for every provider; `faults` has what
can be told to go wrong with media. What is made depends on the seed and on what was asked, and on nothing else: bytes
are never kept over a restart, they are made again.

Pillow and PyAV (the extra `simulator-media`) are imported when something is made, never before.
"""
