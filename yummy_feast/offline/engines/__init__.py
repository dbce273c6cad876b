"""Engines: what computes a plan. One file each; ``base`` is the interface they share."""
