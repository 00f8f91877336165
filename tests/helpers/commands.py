"""The command, called in this process."""

import functools

import typer.testing

from meanfield.study.cli.app import app

# The tree of commands is made once, and not for each call: that takes longer than most of them.
typer.testing._get_command = functools.cache(typer.testing._get_command)


def meanfield_command(*arguments):
    """What a call with these arguments prints, and its exit code."""
    return typer.testing.CliRunner().invoke(app, [str(argument) for argument in arguments])
