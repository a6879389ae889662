"""People: reading the members in question, deciding, writing ahead, letting go."""
