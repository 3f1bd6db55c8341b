"""How fast the client is, and how fast any client could be: ``python -m benchmarks``."""
