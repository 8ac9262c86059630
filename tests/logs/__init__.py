"""Logs that earlier commits wrote, as bytes, and the scenario that wrote them.

Each folder holds `perdure.db`, its checksum, and what folding every prefix of every stream gave when it was added. They
are never rewritten: a change of code that reads them differently is a change of the pinned digests, which a reviewer
sees.
"""
