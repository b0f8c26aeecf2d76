"""From scored candidates to predictions, metrics, intervals and analyses.

Everything here works on arrays and data frames; no reader, retriever or index is needed.
"""
