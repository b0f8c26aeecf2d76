"""The command line: ``python -m jomed --help``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jomed.config import ConfigError, RunConfig, configure
from jomed.forecast_table import forecast_report
from jomed.matrix import run_matrix
from jomed.plan import planned_configs, states, tasks
from jomed.runner import NotebookError, end_with_matrix, parameter_value, run_notebook

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Runs the notebooks: one with `run`, all of a matrix with `matrix`.",
)

Profile = Annotated[str, typer.Option(help="A file in params/profiles.")]
Matrix = Annotated[
    str | None,
    typer.Option(help="An entry of params/matrix.yaml; the profile's name if not given."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Keep the runs with this benchmark, backbone, encoder or seed; may be repeated. "
        "Leaves out the notebooks that compare all runs.",
    ),
]

Benchmark = Annotated[str | None, typer.Option(help="A file in params/benchmarks.")]
Backbone = Annotated[str | None, typer.Option(help="A file in params/backbones.")]
Encoder = Annotated[str | None, typer.Option(help="A file in params/encoders.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of every random choice.")]
Overrides = Annotated[
    str | None, typer.Option(help='Settings to change, as JSON: {"stage1.max_steps": 100}.')
]
RunsDir = Annotated[Path | None, typer.Option(file_okay=False, help="Folder of all results.")]


@app.command()
def plan(
    profile: Profile,
    matrix: Matrix = None,
    only: Only = None,
    gpu: Annotated[
        str | None, typer.Option(help="Estimate hours for this GPU of params/gpus.yaml.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="PAIRS_PER_SECOND", help="A measured rate of scoring, for the hours."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the estimates here, too.")
    ] = None,
) -> None:
    """List the notebook executions of a matrix, and estimate what they take; nothing is run."""
    _print_plan(profile, matrix, only)
    typer.echo("")
    for line in forecast_report(planned_configs(profile, matrix, only or []), gpu, rate, csv):
        typer.echo(line)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[-p NAME VALUE]...",
)
def run(
    context: typer.Context,
    notebook: Annotated[str, typer.Argument(help="Name of a notebook, or its path.")],
) -> None:
    """Execute one notebook, with a value for each parameter named by -p."""
    end_with_matrix()
    typer.echo(run_notebook(notebook, _pairs(context.args)))


@app.command()
def matrix(
    profile: Profile,
    matrix: Matrix = None,
    only: Only = None,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks at a time.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, like `plan`.")] = False,
    keep_going: Annotated[
        bool, typer.Option(help="Go on with other runs when one has failed.")
    ] = True,
) -> None:
    """Execute every notebook of a matrix that has not been executed yet."""
    if dry_run:
        _print_plan(profile, matrix, only)
    elif not run_matrix(profile, matrix, only or [], jobs, keep_going, typer.echo):
        raise typer.Exit(1)


@app.command("check-data")
def check_data(
    profile: Profile = "paper",
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Look here, not in the profile's folder."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=0, help="Images to open per data set, drawn at random.")
    ] = 200,
    everything: Annotated[
        bool, typer.Option("--all", help="Say how to get data sets that are not needed, too.")
    ] = False,
) -> None:
    """Say which data sets are there, whole and readable, and where to get the others.

    Ends with code 1 where one that the profile needs is missing or corrupt.
    """
    # Imported here: reading data takes seconds to import, and no other command does it.
    from jomed.checks import check_data as check
    from jomed.checks import report_lines

    found = list(check(profile, data_dir, images))
    if not found:
        typer.echo(
            f"profile {profile!r} needs no data: notebook 01_prepare_corpora draws its synthetic "
            "world. It has not done so yet, so there is nothing to check."
        )
        return
    for line in report_lines(found, everything):
        typer.echo(line)
    lacking = [one.name for one in found if one.needed and one.state in ("missing", "corrupt")]
    if lacking:
        typer.echo(f"\nprofile {profile!r} lacks: {', '.join(lacking)}", err=True)
        raise typer.Exit(1)
    typer.echo(f"\nall that profile {profile!r} needs can be read")


@app.command()
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
    # Imported here: torch takes seconds, and the other commands are free of it.
    from jomed.reading.team import join_team, leave_team
    from jomed.stages.reader import train_reader

    with _told():
        folder = train_reader(config)
    if join_team(config).is_main_process:
        typer.echo(folder)
    leave_team()


@app.command("export-llamafactory")
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


def _print_plan(profile: str, matrix: str | None, only: list[str] | None) -> None:
    rows = states(tasks(profile, matrix, only or []))
    width = max(len(task.title) for task, _ in rows)
    for task, state in rows:
        typer.echo(f"{task.title:{width}}  {state}")
    done = sum(task.done for task, _ in rows)
    typer.echo(f"{done} of {len(rows)} done")


def _pairs(words: list[str]) -> dict[str, object]:
    """The parameters in "-p NAME VALUE -p NAME VALUE"."""
    given: dict[str, object] = {}
    for start in range(0, len(words), 3):
        option, *pair = words[start : start + 3]
        if option not in ("-p", "--parameter") or len(pair) != 2:
            raise ConfigError(f"expected -p NAME VALUE, got {' '.join([option, *pair])!r}")
        given[pair[0]] = parameter_value(pair[1])
    return given


def main() -> None:
    """Run a command; an error that the user can mend is printed without a traceback."""
    try:
        app(prog_name="python -m jomed")
    except (ConfigError, NotebookError) as error:
        typer.echo(error, err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
