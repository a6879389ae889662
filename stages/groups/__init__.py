"""Groups: gathering what they are about, deciding, writing ahead."""
