"""The commands of stage 1: fine-tune one run's reader, or export it for LLaMA-Factory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jomed.config import RunConfig, configure

Profile = Annotated[str, typer.Option(help="A file in params/profiles.")]
Benchmark = Annotated[str | None, typer.Option(help="A file in params/benchmarks.")]
Backbone = Annotated[str | None, typer.Option(help="A file in params/backbones.")]
Encoder = Annotated[str | None, typer.Option(help="A file in params/encoders.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of every random choice.")]
Overrides = Annotated[
    str | None, typer.Option(help='Settings to change, as JSON: {"stage1.max_steps": 100}.')
]
RunsDir = Annotated[Path | None, typer.Option(file_okay=False, help="Folder of all results.")]


def finetune(
    profile: Profile,
    benchmark: Benchmark = None,
    backbone: Backbone = None,
    encoder: Encoder = None,
    seed: Seed = None,
    overrides: Overrides = None,
    runs_dir: RunsDir = None,
) -> None:
    """Fine-tune the reader of one run (stage 1), which notebook 04 then finds done.

    On several processes: `accelerate launch --num_processes 4 -m jomed finetune ...` or `torchrun
    --nproc-per-node 4 -m jomed finetune ...`. Notebooks 01 to 03 must have been executed.
    """
    config = _configured(locals())
    # Imported here, as below: torch takes seconds, and the other commands are free of it.
    from jomed.reading.team import join_team, leave_team
    from jomed.stages.reader import train_reader

    with _told():
        folder = train_reader(config)
    if join_team(config).is_main_process:
        typer.echo(folder)
    leave_team()


def export(
    profile: Profile,
    out: Annotated[Path, typer.Option(file_okay=False, help="A new folder.")],
    benchmark: Benchmark = None,
    backbone: Annotated[
        list[str] | None, typer.Option(help="A file in params/backbones; may be repeated.")
    ] = None,
    encoder: Encoder = None,
    seed: Seed = None,
    overrides: Overrides = None,
    runs_dir: RunsDir = None,
) -> None:
    """Write the data and settings of stage 1 as LLaMA-Factory reads them.

    Notebooks 01 to 03 must have been executed.
    """
    named = {name: value for name, value in locals().items() if name != "out"}
    names: list[str | None] = [*backbone] if backbone else [None]
    configs = [_configured({**named, "backbone": name}) for name in names]
    from jomed.stages.reader import export_reader

    with _told():
        report = export_reader(configs, out)
    typer.echo(
        f"{out}: {report.train} training and {report.val} validation examples, {report.images} "
        f"images; {report.cleaned} examples had markup in a text, which was left out"
    )


def _configured(options: Mapping[str, object]) -> RunConfig:
    """The run that the given options name; what they leave out is as in a notebook."""
    given = {name: value for name, value in options.items() if value is not None}
    return configure({name: str(v) if isinstance(v, Path) else v for name, v in given.items()})


@contextmanager
def _told() -> Iterator[None]:
    """Print an error of the stages that the user can mend, and end, without a traceback."""
    from jomed.data.guard import AccessError
    from jomed.data.images import ImageError
    from jomed.reading.packing import ReaderError
    from jomed.reading.trainer import FinetuneError
    from jomed.storage import MissingArtifact

    try:
        yield
    except (AccessError, FinetuneError, ImageError, MissingArtifact, ReaderError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
