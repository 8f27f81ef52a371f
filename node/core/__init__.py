"""What every station speaks of: pure data and pure functions. No input, no output, no clock, no randomness."""
