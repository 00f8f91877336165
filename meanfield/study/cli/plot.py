"""The command `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.cli._shared import SourceArgument, app, draw, names, user_errors


@app.command()
def plot(
    source: SourceArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures; by default figures/ beside it.")
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="png (default), svg, pdf, or several with commas; of an animation gif (default) or mp4.",
        ),
    ] = None,
    animate: Annotated[
        str | None,
        typer.Option(
            metavar="PROCESS", help="Animate the particles of this process; draw nothing else."
        ),
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second of an animation.")] = 10.0,
) -> None:
    """Draw the figures of a run or of a width study, or an animation of a run's particles."""
    with user_errors():
        beside = source if source.is_dir() else source.parent
        folder = out or beside / "figures"
        if animate is None:
            figures = _draw(source, folder, names(formats or "png"))
        else:
            from meanfield.study.storage.kind import require_run

            require_run(source)
            figures = _animate(source, folder, animate, names(formats or "gif"), fps)
    for figure in figures:
        typer.echo(figure)


def _draw(source: Path, folder: Path, formats: list[str]) -> list[Path]:
    from meanfield.study.report.source import read_source
    from meanfield.study.storage.study_record import StudyRecord

    record = read_source(source)
    if not isinstance(record, StudyRecord):
        return draw(record, folder, formats)
    from meanfield.study.figures import save_study_figures

    return save_study_figures(record, folder, formats)


def _animate(path: Path, folder: Path, process: str, formats: list[str], fps: float) -> list[Path]:
    from meanfield.study.engine.progress import ProgressBars
    from meanfield.study.figures import save_animation

    with ProgressBars() as progress:
        return [
            save_animation(path, folder / f"{process}.{suffix}", process, fps, progress)
            for suffix in formats
        ]
