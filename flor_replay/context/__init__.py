"""Build context: who called a run, on what machine, from which repository. Captured at import, without configuration."""
