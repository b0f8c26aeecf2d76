"""Reading images, corpora and benchmarks from disk, each in its publisher's own format."""

from jomed.data.benchmarks import load_benchmark
from jomed.data.hashes import image_phash, image_sha
from jomed.data.images import ImageError, open_image
from jomed.data.leakage import count_leakage, find_leakage
from jomed.data.merge import CorpusCounts, merge_corpora
from jomed.data.sources import DataError

__all__ = [
    "CorpusCounts",
    "DataError",
    "ImageError",
    "count_leakage",
    "find_leakage",
    "image_phash",
    "image_sha",
    "load_benchmark",
    "merge_corpora",
    "open_image",
]
