"""What other programs need to start the connector by themselves: pure text, made from one value."""
