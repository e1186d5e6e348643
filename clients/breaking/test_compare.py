"""Each rule of compare.py, on a small document that is changed in one place."""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import compare

DOCUMENT = {
    "paths": {
        "/things": {
            "post": {
                "operationId": "createThing",
                "security": [{"token": ["operator"]}, {"session": []}],
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 0}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ThingInput"}}}},
                "responses": {"201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}, "404": {}},
            },
            "get": {"operationId": "listThings", "responses": {"200": {}}},
        }
    },
    "components": {
        "schemas": {
            "ThingInput": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 63},
                    "size": {"oneOf": [{"type": "integer", "format": "int64"}, {"type": "string"}]},
                    "note": {"type": ["string", "null"]},
                    "mode": {"type": "string", "enum": ["a", "b"]},
                },
            },
            "Thing": {
                "type": "object",
                "required": ["name", "mode"],
                "properties": {
                    "name": {"type": "string"},
                    "mode": {"type": "string", "enum": ["a", "b"]},
                    "count": {"type": "integer", "format": "int64"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        }
    },
}


def post(document):
    return document["paths"]["/things"]["post"]


def given(document):
    return document["components"]["schemas"]["ThingInput"]


def answered(document):
    return document["components"]["schemas"]["Thing"]


BREAKS = [
    (lambda d: d["paths"].pop("/things"), "/things: the path is gone"),
    (lambda d: d["paths"]["/things"].pop("get"), "GET /things: the operation is gone"),
    (lambda d: post(d).update(operationId="makeThing"), "POST /things: the operationId was createThing and is makeThing"),
    (lambda d: post(d).update(security=[{"token": ["admin"]}]), "POST /things: needs a higher role"),
    (lambda d: post(d)["parameters"].clear(), "POST /things: query parameter limit: is gone"),
    (lambda d: post(d)["parameters"][0].update(required=True), "POST /things: query parameter limit: is required now"),
    (lambda d: post(d)["parameters"].append({"name": "x", "in": "header", "required": True}), "POST /things: header parameter x: is required now"),
    (lambda d: post(d)["parameters"][0]["schema"].update(minimum=1), "POST /things: query parameter limit: minimum was 0 and is 1"),
    (lambda d: post(d)["requestBody"].update(required=True), "POST /things: body: is required now"),
    (lambda d: post(d)["requestBody"]["content"].clear(), "POST /things: body: application/json: is gone"),
    (lambda d: post(d)["responses"].pop("201"), "POST /things: no longer answers 201"),
    (lambda d: post(d)["responses"]["201"]["content"].clear(), "POST /things: 201: application/json: is gone"),
    (lambda d: given(d)["properties"].pop("note"), "sent ThingInput/note: is gone"),
    (lambda d: given(d)["required"].append("size"), "sent ThingInput/size: is required now"),
    (lambda d: given(d)["properties"]["size"]["oneOf"].pop(), "sent ThingInput/size: string is no longer taken"),
    (lambda d: given(d)["properties"]["note"].update(type="string"), "sent ThingInput/note: null is no longer taken"),
    (lambda d: given(d)["properties"]["mode"]["enum"].pop(), "sent ThingInput/mode: b is no longer one of the values"),
    (lambda d: given(d)["properties"]["name"].update(enum=["x"]), "sent ThingInput/name: anything is no longer one of the values"),
    (lambda d: given(d)["properties"]["name"].update(maxLength=10), "sent ThingInput/name: maxLength was 63 and is 10"),
    (lambda d: given(d)["properties"]["name"].update(pattern="^a"), "sent ThingInput/name: has another pattern"),
    (lambda d: answered(d)["properties"].pop("count"), "answered Thing/count: is gone"),
    (lambda d: answered(d)["required"].remove("mode"), "answered Thing/mode: is no longer always there"),
    (lambda d: answered(d)["properties"]["count"].update(type=["integer", "null"]), "answered Thing/count: can be null now"),
    (lambda d: answered(d)["properties"]["count"].update(format="int32"), "answered Thing/count: the format was int64 and is int32"),
    (lambda d: answered(d)["properties"]["labels"]["additionalProperties"].update(type="integer"), "answered Thing/labels/*: can be integer now"),
]

HARMLESS = [
    lambda d: d["paths"].update({"/more": {"get": {"operationId": "more", "responses": {}}}}),
    lambda d: post(d)["parameters"].append({"name": "x", "in": "query", "schema": {"type": "string"}}),
    lambda d: post(d).update(security=[{"token": ["viewer"]}]),
    lambda d: post(d)["responses"].pop("404"),
    lambda d: given(d)["properties"].update(more={"type": "string"}),
    lambda d: given(d)["required"].clear(),
    lambda d: given(d)["properties"]["mode"]["enum"].append("c"),
    lambda d: given(d)["properties"]["name"].update(maxLength=253),
    lambda d: given(d)["properties"]["name"].update(type=["string", "null"]),
    lambda d: answered(d)["properties"].update(more={"type": "string"}),
    lambda d: answered(d)["required"].append("count"),
    lambda d: answered(d)["properties"]["mode"]["enum"].append("c"),
]


class Rules(unittest.TestCase):
    def test_breaks_are_found_and_nothing_else(self):
        for change, finding in BREAKS:
            with self.subTest(finding):
                new = copy.deepcopy(DOCUMENT)
                change(new)
                self.assertEqual(compare.Comparison(DOCUMENT, new).run(), [finding])

    def test_what_only_adds_passes(self):
        for number, change in enumerate(HARMLESS):
            with self.subTest(number):
                new = copy.deepcopy(DOCUMENT)
                change(new)
                self.assertNotEqual(new, DOCUMENT)
                self.assertEqual(compare.Comparison(DOCUMENT, new).run(), [])

    def test_a_break_that_is_meant_is_listed_and_a_stale_line_is_told(self):
        new = copy.deepcopy(DOCUMENT)
        del new["paths"]["/things"]["get"]
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, name) for name in ("old.json", "new.json", "accepted.txt")]
            paths[0].write_text(json.dumps(DOCUMENT), encoding="utf-8")
            paths[1].write_text(json.dumps(new), encoding="utf-8")

            def run(accepted):
                paths[2].write_text(accepted, encoding="utf-8")
                command = [sys.executable, compare.__file__, *map(str, paths[:2]), "--accepted", str(paths[2])]
                answer = subprocess.run(command, capture_output=True, text=True, check=False)
                return answer.returncode, answer.stdout

            self.assertEqual(run("")[0], 1)
            self.assertEqual(run("# nobody listed them\nGET /things: the operation is gone\n"), (0, ""))
            status, text = run("GET /things: the operation is gone\nGET /other: the operation is gone\n")
            self.assertEqual(status, 1)
            self.assertIn("and not so: GET /other", text)


if __name__ == "__main__":
    unittest.main()
