"""The group: help without work, errors without tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

import accuracy_from_weights
from accuracy_from_weights.cli import COMMANDS
from accuracy_from_weights.cli.group import LazyGroup
from accuracy_from_weights.errors import UnreadableFileError


class Boom(LazyGroup):
    """A group with one command that raises what it is given."""

    error: BaseException

    def get_command(self, ctx, cmd_name):
        def fail():
            raise self.error

        return click.Command("boom", callback=fail)


def leave(error, *options, capsys):
    group = Boom(lazy_commands={"boom": "Fail."}, params=[click.Option(["--debug"], is_flag=True)])
    group.error = error
    with pytest.raises(SystemExit) as leaving:
        group.main([*options, "boom"], prog_name="boom")
    return leaving.value.code, capsys.readouterr()


def test_help_names_every_command_and_the_exit_codes(cli):
    result = cli("--help")
    assert result.code == 0
    for name in COMMANDS:
        assert name in result.out
    assert "Exit codes" in result.out


def test_help_imports_no_command():
    code = (
        "import sys\nfrom accuracy_from_weights.cli import main\n"
        "try:\n    main.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "import json; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert not {f"accuracy_from_weights.cli.{name}" for name in COMMANDS} & modules
    assert "numpy" not in modules


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(cli, name):
    result = cli(name, "--help")
    assert result.code == 0
    assert "Usage" in result.out


def test_version(cli):
    assert accuracy_from_weights.__version__ in cli("--version").out


def test_python_m_is_the_command_line():
    command = [sys.executable, "-m", "accuracy_from_weights", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert accuracy_from_weights.__version__ in done.stdout


@pytest.mark.parametrize("arguments", [["frobnicate"], ["estimate"], ["retrain", "zoo"], ["--no"]])
def test_wrong_usage_is_2(cli, arguments):
    result = cli(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_an_error_of_ours_is_its_sentence_and_its_code(capsys):
    code, streams = leave(UnreadableFileError("Expected A. Received: B."), capsys=capsys)
    assert code == 4
    assert streams.err == "Error: Expected A. Received: B.\n"
    assert streams.out == ""


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(capsys):
    code, streams = leave(ZeroDivisionError("division\nby zero"), capsys=capsys)
    assert code == 1
    assert streams.err.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in streams.err
    assert "--debug" in streams.err


def test_debug_shows_the_traceback(capsys):
    code, streams = leave(ZeroDivisionError("x"), "--debug", capsys=capsys)
    assert code == 1
    assert "Traceback" in streams.err


def test_a_system_error_names_the_file(capsys):
    code, streams = leave(PermissionError(13, "Permission denied", "/a/b"), capsys=capsys)
    assert (code, streams.err) == (1, "Error: Permission denied: /a/b\n")


def test_an_interrupt_is_tidy(capsys):
    code, streams = leave(KeyboardInterrupt(), capsys=capsys)
    assert (code, streams.err) == (1, "Error: Stopped by the user.\n")
