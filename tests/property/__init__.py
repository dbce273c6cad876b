"""Properties: what must hold for any input, found by hypothesis and compared with something naive."""
