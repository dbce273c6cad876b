"""Spark, for when one machine is outgrown: the session, its jars, and sources as Spark DataFrames."""
