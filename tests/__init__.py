"""Tests: `unit` mirrors the package, `contract` runs one suite per interface, `property` and `feast` check the whole."""
