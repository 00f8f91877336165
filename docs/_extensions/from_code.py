"""Tables that the code has: a line ``<!-- from code: commands -->`` of a page becomes the one so called, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

_PLACE = re.compile(r"^<!-- from code: (\w+) -->$", re.MULTILINE)


def commands() -> Iterator[str]:
    """Every command of the app, with its arguments and options."""
    import typer.main

    from meanfield.study.cli.app import app

    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        context = command.make_context(name, [], resilient_parsing=True)
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"## `meanfield {name}`\n\n{command.help}\n\n"
        yield f"```text\nmeanfield {name} {usage}\n```\n"
        records = [parameter.get_help_record(context) for parameter in command.params]
        rows = [(f"`{record[0]}`", record[1]) for record in records if record is not None]
        yield _table(("argument or option", "meaning"), rows)


def exit_codes() -> Iterator[str]:
    """The codes with which commands end."""
    from meanfield.study.cli._shared import FAILED, WRONG_INPUT
    from meanfield.study.engine.signals import EXIT_CODES

    rows = [("0", "done"), (str(FAILED), "failed or diverged"), (str(WRONG_INPUT), "wrong input")]
    ended = sorted((code, name) for name, code in EXIT_CODES.items())
    rows += [(str(code), f"stopped by `{name}`, with a checkpoint") for code, name in ended]
    yield _table(("code", "meaning"), rows)


def configuration() -> Iterator[str]:
    """Every table of a configuration with its keys."""
    from meanfield.study.config.reference import tables

    for table in tables():
        choice = next((str(key.default) for key in table.keys if key.name in ("name", "flow")), "")
        title = f"`[{table.name}]`" if table.name else "At the top of the file"
        if choice and not table.name.endswith(choice):
            title += f', `name = "{choice}"`'
        yield f"### {title}\n\n{_prose(table.summary)}\n"
        rows = []
        for key in table.keys:
            value = key.line.partition(" = ")[2] if key.default is not None else ""
            default = f"`{value}`" if value else ("required" if key.is_required else "absent")
            rows.append((f"`{key.name}`", _prose(key.type), default, _prose(key.meaning)))
        yield _table(("key", "type", "default", "meaning"), rows)


def observables() -> Iterator[str]:
    """The variables of a process in a run's file."""
    from meanfield.study.storage.observables import OBSERVABLES

    when = {
        "step": "every step",
        "spectrum": "every `output.sharpness_every` steps",
        "end": "every step",
    }
    rows = []
    for one in OBSERVABLES:
        dimensions = "time, eig" if one.per_eigenvalue else "time"
        only = "flows with iterates" if one.of_iterates else "all"
        if one.on_request:
            only += f", with `output.{one.name} = true`"
        rows.append((f"`{one.name}`", _prose(one.long_name), one.units, dimensions, when[one.when], only, one.since))  # fmt: skip
    yield _table(("variable", "meaning", "units", "dimensions", "measured", "of", "since"), rows)


def flows() -> Iterator[str]:
    """Every flow with its options and its sources."""
    from solvers.flows import FLOWS

    rows = []
    for name, kind in FLOWS.items():
        sources = ", ".join(f"[arXiv:{n}](https://arxiv.org/abs/{n})" for n in kind.sources())
        options = ", ".join(f"`{option}`" for option in kind.options()) or "–"
        name_and_class = f"`{name}`, `{kind.__name__}`"
        rows.append((name_and_class, _prose(_first(kind)), options, sources or "–"))
    yield _table(("name and class", "what it is", "options", "sources"), rows)


def tasks() -> Iterator[str]:
    """Every task."""
    from meanfield.tasks import TASKS

    yield _named(("name", "what it is"), {name: TASKS[name] for name in TASKS})


def landscapes() -> Iterator[str]:
    """Every landscape."""
    from meanfield.landscapes import LANDSCAPES

    rows = []
    for name, kind in LANDSCAPES.items():
        rows.append((f"`{name}`, `{kind.__name__}`", _prose(_first(kind))))
    yield _table(("name and class", "what it is"), rows)


def observables_of_measures() -> Iterator[str]:
    """The variables of the process of a measure."""
    from meanfield.study.storage.measure_schema import OBSERVABLES

    rows = [(f"`{name}`", _prose(about), units) for name, (about, units) in OBSERVABLES.items()]
    yield _table(("variable", "meaning", "units"), rows)


def energies() -> Iterator[str]:
    """Every term of an energy that a configuration can name."""
    from solvers.measures.terms import TERMS

    yield _named(("name", "what it is"), dict(TERMS))


def losses() -> Iterator[str]:
    """Every loss of a risk."""
    from meanfield.losses import LOSSES

    yield _named(("name", "ℓ(f, y)"), {name: type(loss) for name, loss in LOSSES.items()})


def activations() -> Iterator[str]:
    """Every activation."""
    from meanfield.activations import ACTIVATIONS

    yield ", ".join(f"`{name}`" for name in ACTIVATIONS) + ".\n"


def figures() -> Iterator[str]:
    """What the figures of a run show."""
    from meanfield.study.figures import catalogue

    yield catalogue.table() + "\n"


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    made.__name__: made
    for made in (
        *(commands, exit_codes, configuration, observables, observables_of_measures, flows, tasks, landscapes, energies),
        *(losses, activations, figures),
    )
}  # fmt: skip


def fill(_app: Any, _page: str, content: list[str]) -> None:
    """Handler of ``source-read``."""
    content[0] = filled(content[0])


def filled(text: str) -> str:
    """The text of a page with its tables."""
    return _PLACE.sub(lambda found: "\n".join(TABLES[found[1]]()), text)


def _outdated(app: Any, env: Any, _added: Any, _changed: Any, _removed: Any) -> list[str]:
    """Handler of ``env-get-outdated``: pages whose tables may be others."""
    return [
        page
        for page in env.found_docs
        if _PLACE.search(env.doc2path(page).read_text(encoding="utf-8"))
    ]


def _named(head: tuple[str, str], things: dict[str, Any]) -> str:
    return _table(head, [(f"`{name}`", _prose(_first(thing))) for name, thing in things.items()])


def _first(thing: Any) -> str:
    """The first paragraph of a docstring."""
    first = (thing.__doc__ or "").strip().partition("\n\n")[0]
    return re.sub(r":$", ".", " ".join(first.split()))


def _prose(text: str) -> str:
    """Text of a docstring as Markdown: code in double backticks as in single ones, everything else as it stands."""
    parts = re.split(r"(``.*?``|`[^`]*`)", text)
    return "".join(
        "`" + part.strip("`") + "`"
        if part.startswith("`")
        else re.sub(r"([\\*_\[\]<>$~])", r"\\\1", part)
        for part in parts
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", fill)
    app.connect("env-get-outdated", _outdated)
    return {"parallel_read_safe": True}
