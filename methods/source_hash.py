"""Hash of a method's code: of its syntax tree without docstrings, comments and layout.  Uses the standard library only.

A record holds this hash, so that the report can tell which results were made by older code.  A change of a docstring
does not change the hash.
"""

import ast
import hashlib
from typing import Any


def source_hash(*files: bytes) -> str:
    """12 hex digits over the code of one or more Python files (UTF-8).  Raises SyntaxError for what is not Python."""
    trees = [_canonical(ast.parse(text)) for text in files]
    return hashlib.sha256(repr(trees).encode()).hexdigest()[:12]


def _canonical(node: Any) -> Any:
    """A syntax tree as nested tuples, the same in every version of Python: empty fields and positions are left out."""
    if isinstance(node, list):
        return [_canonical(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    return type(node).__name__, [(name, _canonical(fields[name])) for name in sorted(fields) if fields[name] != []]
