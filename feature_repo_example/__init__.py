"""The example: a year of real flights in four formats, from raw tables to predictions. Start with `make demo`."""
