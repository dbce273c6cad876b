"""`unit` mirrors the package, `contract` is one suite per interface, `property` and `feast` check the whole."""
