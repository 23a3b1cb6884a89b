"""Pydantic's report of a bad value, said as one sentence with the cure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from zoo.errors import BadValue, UnknownName, UserError, nearest

_NOT_A = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a mapping",
    "path": "a path",
    "model": "a mapping",
}
_BOUNDS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


def validated(model: type[BaseModel], values: Mapping[str, Any], prefix: str) -> Any:
    """An instance of `model`; `prefix` (such as ``tokenizer``) starts the key in the message.

    Raises:
        UnknownName: a key the model does not have. BadValue: a type or a range is wrong, or a value is missing.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise explain(error, model, prefix) from None


def explain(error: ValidationError, model: type[BaseModel], prefix: str) -> UserError:
    """One sentence for the first thing that is wrong; unknown keys come before wrong values."""
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    place = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        owner = ".".join([*([prefix] if prefix else []), *place[:-1]])
        known = list(_model_at(model, place[:-1]).model_fields)
        return UnknownName(f"{owner or 'the recipe'} has no option '{place[-1]}'.{nearest(place[-1], known)}")
    alternatives = _alternatives(problems, problem)
    key = ".".join([*([prefix] if prefix else []), *(part for part in place if part not in alternatives["tags"])])
    return BadValue(f"{key}: {alternatives['text'] or _sentence(problem)}")


def _sentence(problem: Mapping[str, Any]) -> str:
    kind, value, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind in _BOUNDS:
        sign, bound = _BOUNDS[kind]
        return f"must be {sign} {context[bound]}, not {_show(value)}"
    if kind == "missing":
        return "a value is required"
    if kind in ("literal_error", "enum"):
        return f"{_show(value)} is not one of {context['expected']}"
    if kind == "finite_number":
        return f"{_show(value)} is not a finite number"
    if kind in ("too_short", "too_long"):
        sign, bound = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"needs {sign} {context[bound]} items, not {context['actual_length']}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", problem["msg"]))
    base = kind.split("_")[0]
    if base in _NOT_A and kind.endswith(("_type", "_parsing", "_from_float", "_parsing_size", "_unicode")):
        return f"{_show(value)} is not {_NOT_A[base]}"
    return f"{_show(value)} is refused: {problem['msg'][:1].lower()}{problem['msg'][1:]}"


def _alternatives(problems: list[Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """A union reports one problem per member, tagged at the end of loc; they are joined by ``or``."""
    same = [p for p in problems if p.get("input") is first.get("input") and p["loc"][:-1] == first["loc"][:-1]]
    if len(same) < 2 or len({p["loc"] for p in same}) < 2 or not first["loc"][:-1]:
        return {"text": "", "tags": ()}
    texts = list(dict.fromkeys(_sentence(p) for p in same))
    shown = _show(first.get("input"))
    tails = [text.removeprefix(f"{shown} is not ") for text in texts]
    joined = f"{shown} is not {' or '.join(tails)}" if all(t.startswith(f"{shown} is not ") for t in texts) else ""
    return {"text": joined or ", or ".join(texts), "tags": {str(p["loc"][-1]) for p in same}}


def _model_at(model: type[BaseModel], place: list[str]) -> type[BaseModel]:
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return model
        model = annotation
    return model


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
