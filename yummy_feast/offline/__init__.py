"""Offline: Feast's arguments become a plan, an engine carries it out, one retrieval job hands out the rows."""
