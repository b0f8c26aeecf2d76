"""Stage 2: training the query heads from the frozen reader's likelihoods."""

LOG_FILE = "log.jsonl"
"""The log of a head's training, in the folder of its artefact."""
