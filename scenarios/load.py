"""YAML -> model. Every mistake is `file:line:column: what; write this instead`, and all of them come at once.

Rule: positions are those of the YAML node that is wrong (the key when the key is, the value when the value is),
counted from 1. Only this module and check.configured import ruamel.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from scenarios.errors import Problem, ScenarioFileError
from scenarios.fields import suggestion
from scenarios.model import Loaded, Scenario
from scenarios.setting import TRUST_WORDS
from scenarios.steps.connect import Connect
from scenarios.steps.publish import Publish
from scenarios.wording import in_words

SUFFIX = ".scenario.yaml"
DEEPEST, LARGEST = 40, 20_000
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}


def load(path: Path, name: str | None = None) -> Loaded:
    """Read the scenario in `path`; ScenarioFileError has everything that is wrong with it."""
    text = _read(path)
    source = _Source(path)
    claim = _claim(text, source)
    scenario = None
    data = source.data(text)
    if data is not None:
        try:
            scenario = Scenario.model_validate(data)
        except ValidationError as wrong:
            source.add_all(wrong)
        else:
            _cross_check(scenario, source)
    if source.problems or scenario is None:
        raise ScenarioFileError(sorted(source.problems, key=lambda problem: (problem.line, problem.column)))
    return Loaded(scenario=scenario, claim=claim, path=path, name=name or scenario.name or stem(path))


def stem(path: Path) -> str:
    """The file's name without its suffix."""
    return path.name.removesuffix(SUFFIX)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        what = "this is not UTF-8 text; save the file as UTF-8"
    except OSError as error:
        what = f"cannot be read: {(error.strerror or str(error)).lower()}"
    raise ScenarioFileError([Problem(path, 1, 1, what)])


def _claim(text: str, source: _Source) -> str:
    first = text.splitlines()[0] if text else ""
    claim = first.lstrip("#").strip()
    if not first.startswith("#") or not claim:
        source.add(
            1, 1, "the first line must be a comment that states the claim in one sentence: # A leaf ... connects."
        )
    return claim


@dataclass
class _Source:
    """One file: its node tree, for positions, and what is wrong with it."""

    path: Path
    problems: list[Problem] = field(default_factory=list)
    root: Node | None = None
    size: int = 0

    def add(self, line: int, column: int, what: str) -> None:
        self.problems.append(Problem(self.path, line, column, what))

    def at(self, node: Node, what: str) -> None:
        self.add(node.start_mark.line + 1, node.start_mark.column + 1, what)

    def data(self, text: str) -> dict[str, Any] | None:
        """The file as plain data; None when it is no mapping."""
        yaml = YAML(typ="safe", pure=True)
        try:
            self.root = yaml.compose(text)
        except MarkedYAMLError as wrong:
            mark = wrong.problem_mark or wrong.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.add(line, column, f"this is not YAML: {_one_line(wrong.problem)}")
            return None
        except (YAMLError, RecursionError, ValueError) as wrong:
            self.add(1, 1, f"this is not YAML: {_one_line(str(wrong))}")
            return None
        if not isinstance(self.root, MappingNode):
            self.add(1, 1, "a scenario is a mapping; it needs at least `steps:`")
            return None
        data: dict[str, Any] = self._plain(yaml, self.root, 0)
        return data

    def _plain(self, yaml: YAML, node: Node, depth: int) -> Any:
        self.size += 1
        if depth > DEEPEST or self.size > LARGEST:
            if self.size <= LARGEST + 1:
                self.at(node, "too large or nested too deeply; is there an anchor that contains itself?")
            return None
        if isinstance(node, MappingNode):
            return dict(self._pairs(yaml, node, depth))
        if isinstance(node, SequenceNode):
            return [self._plain(yaml, item, depth + 1) for item in node.value]
        if node.tag not in _PLAIN:
            self.at(node, f"the tag {node.tag} has no meaning here; leave it out")
            return None
        if node.tag.endswith(":timestamp"):
            return node.value  # a scenario knows no dates: the text is what was meant
        try:
            return yaml.constructor.construct_object(node)
        except (YAMLError, ValueError):
            self.at(node, f"{node.value!r} cannot be read; put it in quotes")
            return None

    def _pairs(self, yaml: YAML, node: MappingNode, depth: int) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else "?"
            if not isinstance(key, ScalarNode):
                self.at(key, "a key is a plain word")
            elif name in seen:
                first = seen[name].start_mark.line + 1
                self.at(key, f"`{name}` is already given in line {first}; keep one of them")
            else:
                seen[name] = key
                yield name, self._plain(yaml, value, depth + 1)

    def add_all(self, wrong: ValidationError) -> None:
        """Take every error of pydantic's, in our words and at its place."""
        for error in wrong.errors():
            location = error["loc"]
            node, key = self.find(location)
            # A word that stands for a mapping (`expect: conected`) is unknown as a key, yet no key in the file.
            is_key = error["type"] == "extra_forbidden" and isinstance(key, ScalarNode) and key.value == location[-1]
            self.at(key if is_key and key is not None else node, in_words(error, location))

    def find(self, location: tuple[int | str, ...]) -> tuple[Node, Node | None]:
        """The deepest node on the way to `location`, and its key if it has one."""
        node, key = self.root, None
        assert node is not None
        for part in location:
            step = _child(node, part)
            if step is not None:
                node, key = step
        return node, key


def _child(node: Node, part: int | str) -> tuple[Node, Node | None] | None:
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], None
    if isinstance(node, MappingNode):
        return next(((value, key) for key, value in node.value if key.value == part), None)
    return None


def _one_line(text: str | None) -> str:
    return " ".join((text or "it cannot be read").split())


def _cross_check(scenario: Scenario, source: _Source) -> None:
    """What no single model can know: that leaves exist, and that they can do what they are asked to."""
    for index, step in enumerate(scenario.steps):
        for leaf in step.leaves:
            if scenario.leaves and leaf not in scenario.leaves:
                node = _value_node(source, index, leaf)
                source.at(node, f"there is no leaf `{leaf}`; {suggestion(leaf, scenario.leaves)}")
        _check_abilities(scenario, source, index)
    for name, setting in scenario.leaves.items():
        if setting.trust not in TRUST_WORDS and not (source.path.parent / setting.trust).is_file():
            node = source.find(("leaves", name, "trust"))[0]
            source.at(
                node, f'trust "{setting.trust}" is no file beside this one; {suggestion(setting.trust, TRUST_WORDS)}'
            )
        if setting.trust == "system" and setting.stack != "paho":
            node = source.find(("leaves", name, "stack"))[0]
            source.at(node, "a leaf with `trust: system` has a process of its own; it needs `stack: paho`")
    if not any(isinstance(step, Connect | Publish) for step in scenario.steps):
        source.at(source.find(("steps",))[0], "nobody connects in these steps; add `- connect: LEAF`")


def _check_abilities(scenario: Scenario, source: _Source, index: int) -> None:
    """A bare TLS stack speaks no MQTT, and a leaf in a process of its own connects and is gone."""
    step = scenario.steps[index]
    if isinstance(step, Connect):
        if step.expect.stacks and scenario.leaf(step.connect).trust == "system":
            node = source.find(("steps", index, "expect", "stacks"))[0]
            source.at(
                node, f"`{step.connect}` has a system store of its own, other stacks have none; leave `stacks` out"
            )
        return
    for who in step.leaves:
        setting = scenario.leaf(who)
        if setting.stack != "paho":
            what = f"`{who}` only does TLS with stack {setting.stack}; give it `stack: paho` to speak MQTT"
            source.at(_value_node(source, index, who), what)
        elif setting.trust == "system":
            what = f"`{who}` connects in a process of its own and ends; give it `trust: root` to go on"
            source.at(_value_node(source, index, who), what)


def _value_node(source: _Source, index: int, text: str) -> Node:
    """Where `text` is written in step number `index`."""
    step, _ = source.find(("steps", index))
    stack = [step]
    while stack:
        node = stack.pop(0)
        if isinstance(node, ScalarNode) and node.value == text:
            return node
        if isinstance(node, MappingNode):
            stack += [value for _, value in node.value]
    return step
