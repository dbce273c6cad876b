"""The feature server: Feast's REST over the compiled retrieval plan."""
