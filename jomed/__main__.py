"""The command line: ``python -m jomed --help``."""

from pathlib import Path
from typing import Annotated

import typer

from jomed.artifacts import score_table_path
from jomed.config import ConfigError
from jomed.forecast_table import forecast_report
from jomed.matrix import run_matrix
from jomed.plan import planned_configs, states, tasks
from jomed.reader_commands import Profile, export, finetune
from jomed.reading.score_files import ScoreTableError
from jomed.runner import NotebookError, end_with_matrix, parameter_value, run_notebook

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Runs the notebooks: one with `run`, all of a matrix with `matrix`.",
)
scores = typer.Typer(
    no_args_is_help=True, help="Look into score tables: what the readers said about pairs."
)
app.add_typer(scores, name="scores")
app.command()(finetune)
app.command("export-llamafactory")(export)

_FAULTS_SHOWN = 20

Matrix = Annotated[
    str | None,
    typer.Option(help="An entry of params/matrix.yaml; the profile's name if not given."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Keep the runs with this benchmark, backbone, encoder, seed or variant; may be "
        "repeated. "
        "Leaves out the notebooks that compare all runs.",
    ),
]


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


@scores.command("info")
def scores_info(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Score tables; all of the profile if not given.")
    ] = None,
    profile: Profile = "phantom",
) -> None:
    """Say what score tables hold and how large they are."""
    from jomed.reading.score_checks import file_bytes, table_facts

    for path in paths or _score_tables(profile):
        facts, size = table_facts(path), file_bytes(path)
        pairs = sum(one.pairs for one in facts)
        typer.echo(f"{path}: {size:,} bytes, {size / max(1, pairs):.0f} per pair")
        for one in facts:
            typer.echo(
                f"  {one.kind}: {one.pairs:,} pairs of {one.readers} readers, "
                f"{one.samples:,} samples, {one.records:,} records, {one.variants:,} variants"
            )


@scores.command("verify")
def scores_verify(
    paths: Annotated[list[Path], typer.Argument(help="Score tables.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove broken rows, so that they are scored again.")
    ] = False,
) -> None:
    """Check every value of score tables. Ends with code 1 where something is broken."""
    from jomed.reading.score_checks import find_faults, remove

    broken = False
    for path in paths:
        faults = find_faults(path)
        for one in faults[:_FAULTS_SHOWN]:
            typer.echo(f"{path}: {one.kind}: {one.pair}: {one.reason}")
        if len(faults) > _FAULTS_SHOWN:
            typer.echo(f"{path}: and {len(faults) - _FAULTS_SHOWN:,} more")
        if repair:
            remove(path, faults)
            typer.echo(f"{path}: {len(faults):,} broken rows removed")
        elif faults:
            broken = True
            typer.echo(f"{path}: {len(faults):,} broken rows; --repair removes them", err=True)
        else:
            typer.echo(f"{path}: whole")
    if broken:
        raise typer.Exit(1)


def _score_tables(profile: str) -> list[Path]:
    folder = score_table_path(planned_configs(profile)[0]).parent
    found = sorted(folder.glob("*.sqlite"))
    if not found:
        typer.echo(f"no score tables in {folder} yet")
    return found


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
    except (ConfigError, NotebookError, ScoreTableError) as error:
        typer.echo(error, err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
