"""The batch: a job of many requests that a provider answers in its own time."""
