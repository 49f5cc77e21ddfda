"""The attributes of a component against the schema of its class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator

Fault = tuple[str, Any, str, str]


def faults(schema: Mapping[str, Any], attrs: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with attributes: (attribute, value, English, Chinese) each; empty if they fit.

    schema : JSON Schema (2020-12) of an object, see layers.class.attribute_schema; an empty one takes everything
    """
    if not schema:
        return []
    found: list[Fault] = []
    for error in _validator(json.dumps(schema, sort_keys=True)).iter_errors(dict(attrs)):
        if error.validator == "required":
            lacking = [name for name in error.validator_value if name not in error.instance]
            found += [(name, None, "is missing", "缺失") for name in lacking]
            continue
        name = str(error.absolute_path[0]) if error.absolute_path else ""
        wanted = json.dumps(error.validator_value, ensure_ascii=False)
        en = {"enum": f"is none of {wanted}", "type": f"is not of the type {wanted}"}.get(
            error.validator, error.message
        )
        zh = {"enum": f"不在值域 {wanted} 内", "type": f"类型应为 {wanted}"}.get(
            error.validator, f"不符合 {error.validator}：{wanted}"
        )
        found.append((name, error.instance, en, zh))
    return list({(name, en): (name, value, en, zh) for name, value, en, zh in found}.values())


@lru_cache(maxsize=512)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema))
