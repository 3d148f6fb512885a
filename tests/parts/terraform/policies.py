"""Evaluates policy documents: the part of IAM that our documents use.

moto keeps documents but does not judge by them. The rules are IAM's own: a matching Deny wins, then a matching Allow;
otherwise no. Action names are compared without regard to case, resources and values with it; `*` and `?` are wildcards.
An operator that is not known here is an error, so that a document cannot outgrow its judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Document = dict[str, Any]
Values = str | tuple[str, ...]


def allows(documents: Iterable[Document], action: str, resource: str = "*", **context: str) -> bool:
    """Whether the documents together allow an action.

    Args:
        documents: policies of one identity.
        action: such as `s3:GetObject`.
        resource: the ARN that is acted on; `*` for an action that takes none.
        context: condition keys and their values, `:` written `__` and `/` written `___`
            (`aws__ResourceTag___Project="comentarios"`); a key that is not given is absent from the request.

    Raises:
        ValueError: a condition has an operator that is not known here.
    """
    keys = {name.replace("___", "/").replace("__", ":"): value for name, value in context.items()}
    return bool(deciding(documents, action, resource, keys))


def deciding(documents: Iterable[Document], action: str, resource: str, context: Mapping[str, Values]) -> set[str]:
    """The Sids of the statements that allow an action; empty where it is denied.

    Args:
        context: condition keys and their value, or values.

    Raises:
        ValueError: a condition has an operator that is not known here.
    """
    keys = {name.lower(): value for name, value in context.items()}
    matching = [
        statement
        for document in documents
        for statement in _list(document["Statement"])
        if _concerns(statement, action, resource) and _holds(statement.get("Condition", {}), keys)
    ]
    if any(statement["Effect"] == "Deny" for statement in matching):
        return set()
    return {statement.get("Sid", "") for statement in matching}


def _concerns(statement: Document, action: str, resource: str) -> bool:
    if "NotAction" in statement:
        named = not _any(statement["NotAction"], action, re.IGNORECASE)
    else:
        named = _any(statement["Action"], action, re.IGNORECASE)
    # A trust policy names no resource: it is the role's own.
    return named and ("Resource" not in statement or _any(statement["Resource"], resource))


def _holds(conditions: Document, keys: dict[str, Values]) -> bool:
    return all(
        _compare(operator, keys.get(key.lower()), _list(wanted))
        for operator, block in conditions.items()
        for key, wanted in block.items()
    )


def _compare(operator: str, value: Values | None, wanted: list[str]) -> bool:
    if operator.startswith("ForAllValues:"):
        return all(_compare(operator.partition(":")[2], one, wanted) for one in _list(value or []))
    if operator == "Null":
        return (value is None) == (wanted[0] == "true")
    if operator.endswith("IfExists"):
        return value is None or _compare(operator.removesuffix("IfExists"), value, wanted)
    if not isinstance(value, str):
        return False
    if operator in {"StringEquals", "Bool"}:
        return value in wanted
    if operator == "StringLike":
        return _any(wanted, value)
    raise ValueError(f"the condition operator {operator} is not known here")


def _any(patterns: str | list[str], value: str, flags: int = 0) -> bool:
    return any(re.fullmatch(_expression(pattern), value, flags) for pattern in _list(patterns))


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
