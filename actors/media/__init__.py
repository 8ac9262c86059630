"""Images and speech: one kind of actor for what is one round trip at a provider.

| module | holds |
| --- | --- |
| `state` | judgement, fold, what it asks for: pure |
| `checking` | which requests are refused before anything is recorded: pure |
| `effects` | sending, keeping the bytes |
| `examining` | what an answer's bytes are, measured |
| `ordering` | from a request to a durable operation |
| `images`, `audio` | what applications call |
| `views` | operations and stored media as applications see them |
| `ports` | what a provider must be able to do |
"""
