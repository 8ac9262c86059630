"""The log on SQLite.

`open_log` and `open_reader` are what others use. Inside: `schema` (tables, connections), `opening` (judging and
creating files), `lock`, `faults` (SQLite's errors in our words), `ledger` (the rows of a transaction), `chain`,
`writer` (transactions and failed commits), `group_commit` (the trio side), `queries`, `connections` and `reader`
(reading), `changes` (signals after commits), `log` (opening for writing), `verify`, `cold` (folding a whole log).
`library` shows a log to the eventsourcing library and is loaded by nothing here.
"""

from perdure.store.sqlite.cold import fold_all as fold_all
from perdure.store.sqlite.log import SqliteLog as SqliteLog
from perdure.store.sqlite.log import open_log as open_log
from perdure.store.sqlite.reader import SqliteReader as SqliteReader
from perdure.store.sqlite.reader import open_reader as open_reader
from perdure.store.sqlite.verify import Fault as Fault
from perdure.store.sqlite.verify import Progress as Progress
from perdure.store.sqlite.verify import Verified as Verified
