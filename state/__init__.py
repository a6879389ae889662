"""The journal of dropbox-ad-connector: one SQLite file that knows what was seen, who is managed, what is to be done."""
