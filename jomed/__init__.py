"""JOMED companion: retriever, reader and their joint optimisation for medical diagnosis."""
