"""Which files and values a run read and made, and so which run made a file and what was made from it."""
