"""What recording and planning ask of a source: where its statements run, what they keep, which names are still read."""
