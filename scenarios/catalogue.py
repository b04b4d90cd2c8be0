"""The shipped library, and finding scenarios by name, file or folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from scenarios.errors import Problem, ScenarioFileError, UnknownScenarioError
from scenarios.fields import suggestion
from scenarios.load import SUFFIX, load, stem
from scenarios.model import Loaded

LIBRARY = Path(__file__).parent / "library"
THEMES = ("tls", "mqtt", "sas", "faults", "chains")  # in the order in which a connection comes about


def names() -> dict[str, Path]:
    """Every scenario of the library: `theme/name` and its file, theme by theme."""

    def place(path: Path) -> tuple[int, Path]:
        theme = path.parent.name
        return (THEMES.index(theme) if theme in THEMES else len(THEMES), path)

    return {library_name(path): path for path in sorted(LIBRARY.rglob(f"*{SUFFIX}"), key=place)}


def library_name(path: Path) -> str:
    """`theme/name` of a file in the library."""
    return (path.parent.relative_to(LIBRARY) / stem(path)).as_posix()


def find(words: Iterable[str]) -> list[Path]:
    """The files that `words` (names, themes, files or folders) stand for, each once."""
    found: dict[Path, None] = {}
    for word in words:
        found.update(dict.fromkeys(_find_one(word)))
    return list(found)


def _find_one(word: str) -> Sequence[Path]:
    path = Path(word)
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = sorted(path.rglob(f"*{SUFFIX}"))
        if inside:
            return inside
    library = names()
    name = word.removesuffix(SUFFIX).strip("/")
    matches = [file for key, file in library.items() if name in (key, key.rpartition("/")[2], key.rpartition("/")[0])]
    if matches:
        return matches
    if path.is_dir():
        raise UnknownScenarioError(f"no *{SUFFIX} file in {word}", f"scenario files end in {SUFFIX}")
    near = suggestion(name, [*library, *(key.rpartition("/")[2] for key in library)])
    hint = near if near.startswith("did you mean") else "`leafgate list` shows the library"
    raise UnknownScenarioError(f"there is no file, folder or scenario {word!r}", hint)


def load_all(paths: Iterable[Path]) -> list[Loaded]:
    """Read all files; one ScenarioFileError has the problems of all of them."""
    loaded: list[Loaded] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            loaded.append(load(path, name_of(path)))
        except ScenarioFileError as wrong:
            problems += wrong.problems
    if problems:
        raise ScenarioFileError(problems)
    return loaded


def name_of(path: Path) -> str | None:
    """The library's name for the file; None for one that is not in it."""
    return library_name(path.resolve()) if path.resolve().is_relative_to(LIBRARY.resolve()) else None
