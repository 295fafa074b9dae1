"""Read YAML as data, within bounds: size, number of values, nesting.

Keys may not repeat: the first value would be lost without a word.  Aliases and tags are not read: with them a small
text becomes a large value, or an object of Python.  Text that looks like a date stays text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from benchmark.files import file_problem

MAX_BYTES = 1_000_000
MAX_VALUES = 10_000
MAX_DEPTH = 32
MAX_INTEGER = 2**63


class BoundedLoader(yaml.SafeLoader):
    """Composes at most MAX_VALUES values, nested at most MAX_DEPTH deep, of plain YAML."""

    def __init__(self, text: str):
        super().__init__(text)
        self.depth = self.values = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        """The node of the next value, with what it contains.  Raises YAMLError."""
        event = self.peek_event()
        self.depth, self.values = self.depth + 1, self.values + 1
        if isinstance(event, yaml.AliasEvent):
            raise refusal(f"*{event.anchor} is an alias, which is not read: write the value out", event.start_mark)
        if event.tag not in (None, "!"):
            raise refusal("tags such as !!str are not read: write the value alone", event.start_mark)
        if self.depth > MAX_DEPTH:
            raise refusal(f"values are nested more than {MAX_DEPTH} deep", event.start_mark)
        if self.values > MAX_VALUES:
            raise refusal(f"there are more than {MAX_VALUES:,} values", event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """A mapping whose keys are all different.  Raises YAMLError."""
        node, seen = super().compose_mapping_node(anchor), set()
        for key, _ in node.value:
            text = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key
            if text in seen:
                raise refusal(f"the key {key.value!r:.60} is given twice: remove one", key.start_mark)
            seen.add(text)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer of at most 63 bits.  Raises YAMLError."""
        try:
            value = super().construct_yaml_int(node) if len(node.value) < 100 else MAX_INTEGER
        except ValueError:  # such as 0x_
            raise refusal(f"{node.value!r:.60} is not a number", node.start_mark) from None
        if abs(value) >= MAX_INTEGER:
            raise refusal(f"the number {node.value:.20} is too large", node.start_mark)
        return value


BoundedLoader.add_constructor("tag:yaml.org,2002:int", BoundedLoader.construct_yaml_int)
BoundedLoader.add_constructor("tag:yaml.org,2002:timestamp", BoundedLoader.construct_yaml_str)


def refusal(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    """The error for YAML that is refused although its syntax is valid."""
    return ConstructorError(None, None, problem, mark)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.  Raises ValueError with the place and the reason."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text):,} characters, and at most {MAX_BYTES:,} are read")
    try:
        return BoundedLoader(text).get_single_data()
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = " ".join(str(fault.problem or fault.context).split())
        kind = "refused YAML" if type(fault) is ConstructorError else "not valid YAML"
        raise ValueError(f"{kind}{place}: {reason}") from fault
    except yaml.YAMLError as fault:
        raise ValueError("not valid YAML: it has characters that no text has, such as a null byte") from fault


def read_yaml(path: Path) -> Any:
    """The value of a YAML file in UTF-8.  Raises ValueError with the reason, without the file's name."""
    problem = file_problem(path, MAX_BYTES)
    if problem:
        raise ValueError(problem)
    try:
        return parse_yaml(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except OSError as fault:
        raise ValueError(f"it cannot be read ({fault.strerror})") from fault
