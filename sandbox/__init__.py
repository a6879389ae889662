"""Stand-ins for the two outside systems, to try and to test the connector without them."""
