"""Which records every method shows the reader: its heads' lists for all samples of a finder."""

from pathlib import Path

from jomed.artifacts import artifact
from jomed.config import RunConfig
from jomed.evaluation.fusion import HeadList
from jomed.evaluation.methods import HeadWeights, Method, no_record, random_records
from jomed.settings import HeadName
from jomed.stages.index import Finder
from jomed.stages.retriever import shuffled_control
from jomed.training.retriever import HEAD_FILE


def weight_file(config: RunConfig, head: HeadName, weights: HeadWeights) -> Path | None:
    """Where a head's weights lie: trained, or trained on shuffled likelihoods; None for untrained.

    MissingArtifact where stage 2 has not been run for it.
    """
    if weights == "untrained":
        return None
    source = shuffled_control(config) if weights == "shuffled" else config
    return artifact(source, f"head_{head}").require() / HEAD_FILE


def candidate_lists(
    config: RunConfig, finder: Finder, method: Method
) -> dict[str, dict[str, HeadList]]:
    """Candidate lists by sample id and list name (see `Method.lists`).

    Each head brings `inference.candidates_per_head` records; random records are as many as both
    heads bring together, drawn by the run's seed.
    """
    count, ids = config.inference.candidates_per_head, finder.queries.ids
    if method.source == "none":
        return {sample_id: no_record() for sample_id in ids}
    if method.source == "random":
        names = finder.index.record_ids
        excluded = [{names[row] for row in rows} for rows in finder.queries.exclude]
        return {
            sample_id: random_records(names, 2 * count, sample_id, config.seed, out)
            for sample_id, out in zip(ids, excluded, strict=True)
        }
    lists = {
        head: finder.listed(head, weight_file(config, head, weights), count)
        for head, weights in method.heads
    }
    return {
        sample_id: {head: found[sample_id] for head, found in lists.items()} for sample_id in ids
    }
