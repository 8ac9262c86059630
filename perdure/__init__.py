"""perdure: batches, videos and files that outlive your process."""
