"""How often a statement lands in the right place of an older version."""
