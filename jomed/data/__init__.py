"""Reading images, corpora and benchmarks from disk, each in its publisher's own format."""

from jomed.data.benchmarks import load_benchmark
from jomed.data.images import ImageError, image_sha, open_image
from jomed.data.leakage import count_leakage, find_leakage
from jomed.data.merge import CorpusReport, load_corpora
from jomed.data.sources import DataError

__all__ = [
    "CorpusReport",
    "DataError",
    "ImageError",
    "count_leakage",
    "find_leakage",
    "image_sha",
    "load_benchmark",
    "load_corpora",
    "open_image",
]
