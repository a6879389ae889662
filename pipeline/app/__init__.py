"""The outer ring: puts the parts together and runs them. Sees everything; nothing further in sees it."""
