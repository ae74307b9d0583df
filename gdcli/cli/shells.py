"""Completion for bash, zsh and fish: the scripts, and where they go. And the versions that `--version` prints."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from gdcli.cli.completion import SHELLS, VARIABLE
from gdcli.cli.output import note, say
from gdcli.cli.signals import importing
from gdcli.errors import SpecError
from gdcli.storage.files import naming, replace

AUTO = "auto"
"""The shell that gdcli is started from."""

_BASH = """\
# Completion of gdcli for bash.
_gdcli() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(VARIABLE=bash "$1" "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _gdcli gdcli
"""

_ZSH = """\
#compdef gdcli
# Completion of gdcli for zsh.
_gdcli() {
    local word help
    local -a words_found lines_found open_found open_lines
    while IFS=$'\\t' read -r word help; do
        if [[ $word == *= ]]; then
            open_found+=("$word"); open_lines+=("$word${help:+  -- $help}")
        else
            words_found+=("$word"); lines_found+=("$word${help:+  -- $help}")
        fi
    done < <(VARIABLE=zsh "${(Q)words[1]}" "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    if (( ! $#words_found && ! $#open_found )); then
        _files
        return
    fi
    (( $#words_found )) && compadd -l -d lines_found -a -- words_found
    (( $#open_found )) && compadd -S '' -l -d open_lines -a -- open_found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _gdcli gdcli
"""

_FISH = """\
# Completion of gdcli for fish.
function __gdcli_complete
    set -l words (commandline -opc)
    set -l cut (commandline -ct)
    set -l found (VARIABLE=fish $words[1] $words[2..-1] "$cut" 2>/dev/null)
    if test (count $found) -eq 0
        __fish_complete_path "$cut"
    else
        printf '%s\\n' $found
    end
end
complete -c gdcli -f -a '(__gdcli_complete)'
"""

SCRIPTS = {
    shell: text.replace("VARIABLE", VARIABLE) for shell, text in (("bash", _BASH), ("zsh", _ZSH), ("fish", _FISH))
}


def show(shell: str) -> None:
    """Print the script of a shell."""
    say(SCRIPTS[_known(shell)])


def install(shell: str) -> None:
    """Write the script of a shell to the user's folder, and have it read by every new shell."""
    shell = _known(shell)
    script = _place(shell)
    with naming(script):
        script.parent.mkdir(parents=True, exist_ok=True)
    replace(script, SCRIPTS[shell])
    note(f"wrote {script}")
    if shell != "fish":  # which reads all in that folder
        start = Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc" if shell == "zsh" else Path.home() / ".bashrc"
        line = f"source '{script}'  # completion of gdcli\n"
        with naming(start):
            text = start.read_text("utf-8", "surrogateescape") if start.exists() else ""
            if line not in text:
                with start.open("a", encoding="utf-8") as stream:
                    stream.write(line if not text or text.endswith("\n") else f"\n{line}")
                note(f"added a line to {start}")
    note(f"{shell} completes gdcli from the next shell on")


def _place(shell: str) -> Path:
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "fish/completions/gdcli.fish"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / f"gdcli/completion.{shell}"


def _known(shell: str) -> str:
    """Return the shell itself, or the one that runs this. Raises SpecError where it is none of ours."""
    if shell != AUTO:
        return shell
    found = Path(os.environ.get("SHELL", "")).name
    with suppress(Exception):  # no process above that is a shell, or no such module
        found = import_module("shellingham").detect_shell()[0]  # Typer brings it
    if found not in SHELLS:
        raise SpecError(f"which shell? Name it: {', '.join(SHELLS)}")
    return found


def print_versions() -> None:
    """Print the versions of gdcli and torch, and the devices that torch can compute on."""
    from gdcli import __version__

    say(f"gdcli {__version__}\n")
    with importing():
        from gdcli.engine.device import devices_here, torch_version
    say(f"torch {torch_version()}, devices: {', '.join(devices_here())}\n")
