"""The stages of a run: each turns finished artefacts into one more, or reads it if it is there.

Notebooks 01-06 and `jomed.diagnose` call these functions; the rooms do the work. A stage that is
complete returns at once, a killed one goes on where it stopped, and a missing earlier stage is an
error that names the notebook to run.
"""
