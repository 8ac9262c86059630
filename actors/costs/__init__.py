"""What answers cost: priced where they arrive, by rates that a port knows."""
