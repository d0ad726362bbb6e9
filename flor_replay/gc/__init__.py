"""Keeping a store within a size: which checkpoints go, and what nobody needs any more."""
