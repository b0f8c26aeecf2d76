"""The error of the training room."""


class TrainingError(RuntimeError):
    """Training cannot start, go on or resume; the message names the step and the samples."""
