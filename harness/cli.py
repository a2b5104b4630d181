"""The command line: an app built from the verbs' signatures. Owns flags, printing and exit codes; never does the work.

Exit codes: 0 done, 1 failed work, 2 wrong usage, 3 data or store not as expected, 130 interrupted.
"""

from __future__ import annotations

import inspect
import os
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from harness.verbs import GROUPS, VERBS, load_verb

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("PYTHONWARNINGS", "")
    try:
        code = app()(args=_spread_lists(words), prog_name="harness", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = _usage_code(error)
        if code is None:
            from harness.errors import exit_code, user_errors

            if not isinstance(error, user_errors()):
                raise
            _complain(str(error))
            code = exit_code(error)
    if code == INTERRUPTED:  # some versions of the parser catch Ctrl-C themselves
        _complain("Interrupted. What was committed is kept: run the same command again to go on.")
    sys.exit(code if isinstance(code, int) else 0)


def app() -> typer.Typer:
    """The whole app, one command a verb."""
    root = typer.Typer(
        name="harness",
        help="Encode once, ask anything: frozen encoders for image quality assessment.\n\n"
        "dataset -> encoder -> feature store -> split -> head -> scores -> report",
        epilog="First steps: [bold]harness demo[/bold] · then "
        "[bold]harness precompute --dataset NAME --root DIR[/bold], "
        "[bold]harness train-head --variant ridge[/bold], [bold]harness report runs/* --out report[/bold]",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    groups: dict[str, typer.Typer] = {}
    root.callback()(_version_option)
    for name in VERBS:
        group, _, command = name.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(help=GROUPS[group], no_args_is_help=True, rich_markup_mode="rich")
            root.add_typer(groups[group], name=group)
        (groups[group] if group else root).command(name=command)(_command(load_verb(name)))
    return root


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("sam-iqa-harness"))
        raise typer.Exit()


def _version_option(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of `harness` itself."""


def _command(function: Callable[..., Any]) -> Callable[..., None]:
    """A typer command with the function's own parameters and `--json`; passes on only what was typed."""
    hints = typing.get_type_hints(function, include_extras=True)
    filed = hasattr(function, "__wrapped__")  # `harness.config.verb`: what is not typed may stand in harness.toml
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        option = "ArgumentInfo" not in str(getattr(hints[parameter.name], "__metadata__", ""))
        default = None if parameter.default is inspect.Parameter.empty and option and filed else parameter.default
        parameters.append(parameter.replace(annotation=hints[parameter.name], default=default))
    json_option = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
    parameters += [
        inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, annotation=json_option, default=False),
        inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
    ]
    parameters.sort(key=lambda p: p.kind is inspect.Parameter.KEYWORD_ONLY)

    def command(**values: Any) -> None:
        context, as_json = values.pop("ctx"), values.pop("json")
        typed = {k: v for k, v in values.items() if str(context.get_parameter_source(k)).endswith("COMMANDLINE")}
        from harness import console

        console.loud()
        _show(function(**typed), as_json)

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # typer reads it; a function has none of its own
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__ = function.__name__
    command.__doc__ = _help_of(function)
    return command


def _help_of(function: Callable[..., Any]) -> str:
    """The first part of the docstring (up to Returns/Raises), examples kept line by line."""
    text = inspect.getdoc(function) or ""
    for stop in ("\nArgs:", "\nReturns:", "\nRaises:"):
        text = text.split(stop)[0]
    return text.replace("Examples:\n", "[bold]Examples[/bold]\n\n\b\n")


def _show(result: Any, as_json: bool) -> None:
    if as_json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n")
    elif result is not None:
        from rich.console import Console

        wide = None if sys.stdout.isatty() else 160
        Console(highlight=False, width=wide, soft_wrap=False).print(result, markup=False)
    code = getattr(result, "exit_code", 0)
    if code:
        raise typer.Exit(code)


def _spread_lists(words: Sequence[str]) -> list[str]:
    """`--features a b c` -> `--features a --features b --features c`: what a person types, as the parser wants it."""
    several = _several(words)
    spread: list[str] = []
    flag = ""
    for i, word in enumerate(words):
        if word in several:
            flag = word
            continue
        if flag and not word.startswith("-"):
            spread += [flag, word]
            if i + 1 < len(words) and words[i + 1].startswith("-"):
                flag = ""
            continue
        flag = ""
        spread.append(word)
    return spread


def _several(words: Sequence[str]) -> set[str]:
    """The options of the verb typed that take a list; none where words without a flag are the verb's own."""
    typed = next((name for name in VERBS if list(words[: len(name.split())]) == name.split()), None)
    parameters = inspect.signature(load_verb(typed)).parameters.values() if typed else ()
    if any("Argument" in str(p.annotation) for p in parameters):
        return set()
    return {f"--{p.name.replace('_', '-')}" for p in parameters if "list[" in str(p.annotation)}


def _usage_code(error: Exception) -> int | None:
    """Prints what the parser says of a wrong command line; None if the error is not the parser's.

    The parser's exceptions are known by what they can do: typer brings its own copy of click, and used the
    installed one before.
    """
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if callable(describe := getattr(error, "format_message", None)):
        context = getattr(error, "ctx", None)
        hint = f"\nTry: {context.command_path} --help" if context is not None else ""
        message = str(describe())
        if message:
            _complain(message + hint)
        return 2
    return None


def _complain(message: str) -> None:
    from harness.console import console

    console().print(f"harness: {message}", markup=False, style="red" if sys.stderr.isatty() else None)


if __name__ == "__main__":
    main()
