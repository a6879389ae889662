"""The journal: one SQLite file that knows what was seen, who is managed, and what is still to be done."""
