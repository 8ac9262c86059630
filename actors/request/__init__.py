"""One live request: asked once, its answer kept."""
