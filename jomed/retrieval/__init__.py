"""Encoders, query heads and the search index."""
