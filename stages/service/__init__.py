"""What `watch` shows to monitors, over HTTP on loopback."""
