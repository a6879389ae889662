"""What the connector is: values, decisions, ports and the runner. Imports no vendor library."""

__version__ = "0.1.0"
