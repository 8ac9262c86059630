"""The wire that OpenAI made and others speak too: what the adapters of all of them have in common.

| module | holds |
| --- | --- |
| `bodies`, `content` | bodies for neutral prompts, and the messages in them: pure |
| `input_lines` | lines of a batch's input file: pure |
| `reading`, `wire` | what answers say, and the objects in them: pure |
| `live` | the endpoints that answer at once |
| `files`, `paging` | the file routes, and lists page by page |
| `answers` | decoders of files, and what an error body says: pure |

Nothing here knows an address, a key or a limit: those are each provider's own.
"""
