"""The outside systems, one folder each: directory (LDAP), dropbox (HTTP), mail (SMTP)."""
