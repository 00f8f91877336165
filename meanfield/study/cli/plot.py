"""The command `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meanfield.study.cli._shared import SourceArgument, app, names, user_errors


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
    only: Annotated[
        str | None, typer.Option(metavar="NAMES", help="These figures only, as loss,sharpness.")
    ] = None,
    processes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Draw these processes only, in their usual colors."),
    ] = None,
    width: Annotated[
        str | None,
        typer.Option(help="Width of every figure as printed: 3.4in, 8.6cm or 86mm."),
    ] = None,
) -> None:
    """Draw the figures of a run or of a width study, or an animation of a run's particles."""
    with user_errors():
        beside = source if source.is_dir() else source.parent
        folder = out or beside / "figures"
        choice = {"only": only, "processes": processes, "width": width}
        if animate is None:
            figures = _draw(source, folder, names(formats or "png"), choice)
        else:
            for argument, value in choice.items():
                if value is not None:
                    raise ValueError(f"{argument} must be left out with --animate, got {value!r}")
            from meanfield.study.storage.kind import require_run

            require_run(source)
            figures = _animate(source, folder, animate, names(formats or "gif"), fps)
    for figure in figures:
        typer.echo(figure)


def _draw(
    source: Path, folder: Path, formats: list[str], choice: dict[str, str | None]
) -> list[Path]:
    from meanfield.study.figures import save_figures
    from meanfield.study.report.source import read_source

    listed = {key: value and names(value) for key, value in choice.items() if key != "width"}
    return save_figures(read_source(source), folder, formats, **listed, width=choice["width"])


def _animate(path: Path, folder: Path, process: str, formats: list[str], fps: float) -> list[Path]:
    from meanfield.study.engine.progress import ProgressBars
    from meanfield.study.figures import save_animation

    with ProgressBars() as progress:
        return [
            save_animation(path, folder / f"{process}.{suffix}", process, fps, progress)
            for suffix in formats
        ]
