"""Mode integer: FakeQuants wherever the integer runtime rounds."""
