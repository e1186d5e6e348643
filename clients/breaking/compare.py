"""Says what of an API's description would break a client that was made for an older one.

    compare.py OLD NEW [--accepted FILE]

Breaking, in what a client sends (parameters, bodies): a path, operation, parameter, field, media type or enum value that is gone, a type or
bound that became narrower, something new that is required, another operationId, a higher role.
Breaking, in what it gets (answers): a status of success, media type or field that is gone, a field that is no longer always there, a type that
became wider. New fields and new enum values of answers are no breaks: clients ignore fields that they do not know, and lists of reasons grow.

FILE lists breaks that are meant, one finding a line as it is printed here, each with its reason in a comment above; one that no longer
occurs is an error. It is emptied with each release, when the new document becomes the old one.
"""

import argparse
import json
import sys

METHODS = ("get", "put", "post", "delete", "patch", "options", "head", "trace")
ROLES = ("viewer", "operator", "admin")
# Keyword, and whether a client that sends is hurt by a growing value.
BOUNDS = {
    "minimum": True,
    "exclusiveMinimum": True,
    "minLength": True,
    "minItems": True,
    "minProperties": True,
    "maximum": False,
    "exclusiveMaximum": False,
    "maxLength": False,
    "maxItems": False,
    "maxProperties": False,
}


class Comparison:
    """Two documents and what was found between them."""

    def __init__(self, old, new):
        self.old, self.new = old, new
        self.findings = []
        self.seen = set()

    def found(self, where, what):
        finding = f"{where}: {what}"
        if finding not in self.findings:
            self.findings.append(finding)

    def run(self):
        for path, old_item in self.old.get("paths", {}).items():
            new_item = self.new.get("paths", {}).get(path)
            if new_item is None:
                self.found(path, "the path is gone")
                continue
            for method in METHODS:
                if method in old_item:
                    where = f"{method.upper()} {path}"
                    if method in new_item:
                        self.operation(where, old_item[method], new_item[method])
                    else:
                        self.found(where, "the operation is gone")
        return self.findings

    def operation(self, where, old, new):
        if old.get("operationId") != new.get("operationId"):
            self.found(where, f"the operationId was {old.get('operationId')} and is {new.get('operationId')}")
        if role(new) > role(old):
            self.found(where, "needs a higher role")
        self.parameters(where, old, new)
        self.request(where, old, new)
        for status, answer in old.get("responses", {}).items():
            if status.startswith("2"):
                if status in new.get("responses", {}):
                    self.answer(f"{where}: {status}", answer, new["responses"][status])
                else:
                    self.found(where, f"no longer answers {status}")

    def parameters(self, where, old, new):
        old_ones = named(self.old, old)
        for key, parameter in named(self.new, new).items():
            before = old_ones.get(key)
            here = f"{where}: {key[0]} parameter {key[1]}"
            if parameter.get("required") and not (before or {}).get("required"):
                self.found(here, "is required now")
            if before:
                self.schema(here, before.get("schema", {}), parameter.get("schema", {}), sent=True)
        for place, name in old_ones.keys() - named(self.new, new).keys():
            self.found(f"{where}: {place} parameter {name}", "is gone")

    def request(self, where, old, new):
        before, now = resolve(self.old, old.get("requestBody")), resolve(self.new, new.get("requestBody"))
        if now and now.get("required") and not (before and before.get("required")):
            self.found(f"{where}: body", "is required now")
        if before and not now:
            self.found(f"{where}: body", "is gone")
        elif before:
            self.content(f"{where}: body", before, now, sent=True)

    def answer(self, where, old, new):
        self.content(where, resolve(self.old, old), resolve(self.new, new), sent=False)

    def content(self, where, old, new, sent):
        for kind, content in old.get("content", {}).items():
            here = f"{where}: {kind}"
            if kind in new.get("content", {}):
                self.schema(here, content.get("schema", {}), new["content"][kind].get("schema", {}), sent)
            else:
                self.found(here, "is gone")

    def schema(self, where, old, new, sent):
        if "$ref" in old and "$ref" in new:
            key = (old["$ref"], new["$ref"], sent)
            if key in self.seen:
                return
            self.seen.add(key)
            # A type is told once, wherever it is used.
            where = f"{'sent' if sent else 'answered'} {old['$ref'].rsplit('/', 1)[-1]}"
        before, now = variants(self.old, old), variants(self.new, new)
        # What a sender may send must still be taken; what a reader gets it must have known.
        narrower, wider = (now, before) if sent else (before, now)
        for kind in wider:
            if kind not in narrower and not ("any" in narrower):
                self.found(where, f"{kind} is no longer taken" if sent else f"can be {kind} now")
        for kind, one in before.items():
            if kind in now:
                self.same_kind(where, kind, one, now[kind], sent)

    def same_kind(self, where, kind, old, new, sent):
        if sent:
            self.narrowing(where, old, new)
        if old.get("format") != new.get("format") and (kind in ("integer", "number") or "date-time" in (old.get("format"), new.get("format"))):
            self.found(where, f"the format was {old.get('format')} and is {new.get('format')}")
        if kind == "array":
            self.schema(f"{where}/[]", old.get("items", {}), new.get("items", {}), sent)
        if kind == "object":
            self.fields(where, old, new, sent)

    def narrowing(self, where, old, new):
        values = new.get("enum")
        if values is not None:
            for value in old.get("enum", ["anything"]):
                if value not in values:
                    self.found(where, f"{value} is no longer one of the values")
        if new.get("pattern") not in (None, old.get("pattern")):
            self.found(where, "has another pattern")
        for keyword, hurts_when_growing in BOUNDS.items():
            before, now = old.get(keyword), new.get(keyword)
            if now is None or before == now:
                continue
            if before is None or (now > before) == hurts_when_growing:
                self.found(where, f"{keyword} was {before} and is {now}")

    def fields(self, where, old, new, sent):
        before, now = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name in now:
                self.schema(f"{where}/{name}", schema, now[name], sent)
            elif not isinstance(new.get("additionalProperties"), dict):
                self.found(f"{where}/{name}", "is gone")
        for name in sorted(set(new.get("required", [])) - set(old.get("required", []))):
            if sent:
                self.found(f"{where}/{name}", "is required now")
        for name in sorted(set(old.get("required", [])) - set(new.get("required", []))):
            if not sent and name in now:
                self.found(f"{where}/{name}", "is no longer always there")
        if isinstance(old.get("additionalProperties"), dict) and isinstance(new.get("additionalProperties"), dict):
            self.schema(f"{where}/*", old["additionalProperties"], new["additionalProperties"], sent)


def role(operation):
    """The least role that an operation asks for, as a number."""
    wanted = [name for requirement in operation.get("security", []) for names in requirement.values() for name in names]
    return max((ROLES.index(name) for name in wanted if name in ROLES), default=-1)


def resolve(document, value):
    while value and "$ref" in value:
        target = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        value = target
    return value


def named(document, operation):
    parameters = (resolve(document, parameter) for parameter in operation.get("parameters", []))
    return {(parameter["in"], parameter["name"]): parameter for parameter in parameters}


def variants(document, schema):
    """What a schema allows, by JSON type: `{"string": {…}, "null": {}}`."""
    schema = resolve(document, schema)
    allowed = {}
    for keyword in ("oneOf", "anyOf"):
        for one in schema.get(keyword, []):
            allowed.update(variants(document, one))
    if "allOf" in schema:
        whole = {"type": "object", "properties": {}, "required": []}
        for part in (resolve(document, part) for part in schema["allOf"]):
            whole["properties"] |= part.get("properties", {})
            whole["required"] += part.get("required", [])
        allowed["object"] = whole
    if not allowed:
        kinds = schema.get("type", "any")
        allowed = {kind: schema for kind in ([kinds] if isinstance(kinds, str) else kinds)}
    # Every integer is a number.
    if "number" in allowed:
        allowed.setdefault("integer", allowed["number"])
    return allowed


def accepted(path):
    with open(path, encoding="utf-8") as lines:
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--accepted")
    arguments = parser.parse_args()
    with open(arguments.old, encoding="utf-8") as old, open(arguments.new, encoding="utf-8") as new:
        findings = Comparison(json.load(old), json.load(new)).run()
    meant = accepted(arguments.accepted) if arguments.accepted else []
    breaks = [finding for finding in findings if finding not in meant]
    stale = [line for line in meant if line not in findings]
    for finding in breaks:
        print(f"breaks clients: {finding}")
    for line in stale:
        print(f"listed in {arguments.accepted}, and not so: {line}")
    if breaks:
        print(f"\n{len(breaks)} found between {arguments.old} and {arguments.new}. Keep the old form, or list what is meant in {arguments.accepted}.")
    return 1 if breaks or stale else 0


if __name__ == "__main__":
    sys.exit(main())
