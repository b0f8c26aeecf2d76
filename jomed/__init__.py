"""JOMED companion: retriever, reader and their joint optimisation for medical diagnosis."""

import warnings

# The libraries below us look for notebook widgets when they are first imported and warn where
# there are none; jomed.progress writes plain text and needs none.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "IProgress not found")
    import tqdm.auto  # noqa: F401
