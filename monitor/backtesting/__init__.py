"""History through the engine in bounded memory: stages, engines, what comes of it."""
