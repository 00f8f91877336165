"""The command `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.commands._shared import app, draw, file_of_run, names, tried, user_errors


@app.command()
def plot(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="The file of a run or of a width study, or its folder."
        ),
    ],
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
        typer.Option(metavar="PROCESS", help="Draw its particles in motion, and nothing else."),
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second of an animation.")] = 10.0,
) -> None:
    """Draw the figures of a run or of a width study, or an animation of a run's particles."""
    with user_errors():
        from meanfield.study.width import is_study

        path = tried(path) if path.is_dir() and is_study(path) else file_of_run(path)
        beside = path if path.is_dir() else path.parent
        folder = out or beside / "figures"
        if animate is None:
            figures = _draw(path, folder, names(formats or "png"))
        else:
            figures = _animate(path, folder, animate, names(formats or "gif"), fps)
    for figure in figures:
        typer.echo(figure)


def _draw(path: Path, folder: Path, formats: list[str]) -> list[Path]:
    from meanfield.study.snapshots import read_run
    from meanfield.study.width import is_study, read_study

    if not is_study(path):
        return draw(read_run(path), folder, formats)
    from meanfield.study.figures import save_study_figures

    return save_study_figures(read_study(path), folder, formats)


def _animate(path: Path, folder: Path, process: str, formats: list[str], fps: float) -> list[Path]:
    from meanfield.study.figures import save_animation
    from meanfield.study.progress import ProgressBars

    with ProgressBars() as progress:
        return [
            save_animation(path, folder / f"{process}.{suffix}", process, fps, progress)
            for suffix in formats
        ]
