"""Data sources: where rows live. One file per format; each answers with a Scan (see ``base``)."""
