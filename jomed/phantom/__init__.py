"""The phantom world: a synthetic, seeded stand-in for gated medical data sets.

It is drawn by a program, holds nothing of any real patient or article, and is written to disk in
the real data sets' own formats, so that the loaders that read it are the ones that read real data.
"""

LOSSES = "losses.json"
"""The losses of a tiny model's pre-training, in the folder of its artefact."""
