"""The command line: `perdure NOUN VERB`. `main` is its entry point.

Results go to standard output, all else to standard error; on a terminal people read tables, in a pipe programs read
JSON Lines. What a command does lies in the rooms below; here is only how it is asked for and how it is shown.

| module | holds |
| --- | --- |
| `entry` | `main`: the tree of commands, errors, exit codes, colour |
| `command`, `options`, `exit_codes` | how a command is made: its help, the options all have, what it ends with |
| `terminal`, `output`, `progress`, `timeline` | what is shown, and where |
| `running` | trio, Ctrl-C and SIGTERM |
| `requests_file`, `results`, `destination`, `job`, `batches` | the main job: lines in, lines out |
| `submitted`, `delivery` | batches that are in the log, and their results |
| `files`, `incoming`, `stored` | files: what is put, and how they are found again |
| `events`, `ops`, `looking` | reading the log, and operations |
| `doctor`, `examination`, `mending`, `settings`, `simulate`, `topics` | the other nouns |
| `demo`, `story`, `stage`, `worker` | the demonstration |
"""

from perdure.adapters.cli.entry import main as main
