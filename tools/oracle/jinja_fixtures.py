#!/usr/bin/env python3
"""Renders the templates and expressions of tests/fixtures/jinja with jinja2: jinja_fixtures.py

The environment is the one that transformers renders chat templates in. Writes families.json (templates/
*.jinja over conversations) and expressions.json (small templates), with the output or the error of each.
Needs jinja2 3.1 alone.
"""

import datetime
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.sandbox

from jinja_chats import CONVERSATIONS, FAMILIES
from jinja_expressions import CONTEXT, EXPRESSIONS
from jinja_statements import STATEMENTS, SYNTAX_ERRORS

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "jinja"
NOW = datetime.datetime(2025, 3, 9, 14, 5, 7)


class Generation(jinja2.ext.Extension):
    """The {% generation %} tag: notes the character ranges of what it renders."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_text"), [], [], body).set_lineno(line)

    def _text(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def outcome(source, variables):
    try:
        return {"output": environment().from_string(source).render(**variables)}
    except jinja2.exceptions.TemplateSyntaxError as error:
        return {"error": "syntax", "line": error.lineno}
    except jinja2.exceptions.TemplateError as error:
        raised = type(error) is jinja2.exceptions.TemplateError
        return {"error": "raised", "message": str(error)} if raised else {"error": type(error).__name__}
    except Exception as error:
        return {"error": type(error).__name__}


def family_cases():
    for path in sorted((FOLDER / "templates").glob("*.jinja")):
        source = path.read_bytes().decode()
        family = FAMILIES.get(path.stem, {})
        tokens = {"bos_token": "<s>", "eos_token": "</s>"} | family.get("tokens", {})
        settings = [{}] + family.get("extra", [])
        for name, chat in CONVERSATIONS.items():
            for prompt in (False, True):
                for extra in settings:
                    variables = {"documents": None, "tools": None} | chat | tokens | extra
                    case = {"template": path.stem, "conversation": name, "add_generation_prompt": prompt}
                    if extra:
                        case["extra"] = extra
                    yield case | outcome(source, variables | {"add_generation_prompt": prompt})


def expression_cases():
    for source in EXPRESSIONS + STATEMENTS:
        yield {"template": source} | outcome(source, CONTEXT)
    for source in SYNTAX_ERRORS:
        case = {"template": source} | outcome(source, CONTEXT)
        if case.get("error") != "syntax":
            raise SystemExit(f"expected a syntax error of {source!r}, got {case}")
        yield case


def write_cases(name, header, cases):
    rows = ",\n  ".join(json.dumps(case, ensure_ascii=False) for case in cases)
    head = "".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n " for k, v in header.items())
    (FOLDER / name).write_text(f'{{{head}"cases": [\n  {rows}\n]}}\n')


def write():
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    overrides = {name: family["tokens"] for name, family in FAMILIES.items() if "tokens" in family}
    header = {"tokens": tokens, "token_overrides": overrides, "conversations": CONVERSATIONS}
    write_cases("families.json", header, family_cases())
    write_cases("expressions.json", {"context": CONTEXT}, expression_cases())


if __name__ == "__main__":
    write()
