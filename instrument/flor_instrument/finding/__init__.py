"""Which loops of a script that has no flor in it a person would have named: the main loop and those nested in it."""
