"""The stages of dropbox-ad-connector, one folder an outside system: directory (LDAP), dropbox (HTTP), mail (SMTP)."""
