"""Self-matches: rows of the index that must never be a query's own evidence."""

from collections import defaultdict
from collections.abc import Collection, Mapping

import pandas as pd

from jomed.data.corpora.training_split import SOURCE as TRAINING_SOURCE


def exclusions(
    samples: pd.DataFrame,
    records: pd.DataFrame,
    row_of: Mapping[str, int],
    same_groups: Collection[str] = (),
) -> list[set[int]]:
    """Rows to exclude per sample: the same image, and, in its own corpus, the same item or group.

    A record is a self-match if its `image_sha` equals the sample's; if it is the sample itself, in
    the benchmark's training split; or if it shares the sample's group (patient, article) and comes
    from the training split or a source in `same_groups`. Groups of other sources live in another
    namespace and are not compared. `row_of` maps record_id to index row; records outside the index
    are ignored.
    """
    comparable = {TRAINING_SOURCE, *same_groups}
    by_sha: defaultdict[str, set[int]] = defaultdict(set)
    by_name: defaultdict[str, set[int]] = defaultdict(set)
    by_group: defaultdict[str, set[int]] = defaultdict(set)
    columns = records[["record_id", "source", "group", "image_sha"]]
    for record_id, source, group, sha in columns.itertuples(index=False, name=None):
        row = row_of.get(record_id)
        if row is None:
            continue
        if sha:
            by_sha[sha].add(row)
        if source == TRAINING_SOURCE:
            by_name[record_id.removeprefix(f"{TRAINING_SOURCE}:")].add(row)
        if group and source in comparable:
            by_group[group].add(row)
    queries = samples[["sample_id", "group", "image_sha"]]
    return [
        by_sha.get(sha, set()) | by_name.get(name, set()) | by_group.get(group, set())
        for name, group, sha in queries.itertuples(index=False, name=None)
    ]
