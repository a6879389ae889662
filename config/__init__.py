"""The settings of dropbox-ad-connector: one file, every key with its default, secrets by reference."""
