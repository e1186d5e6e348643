"""Keeps what schemathesis generates within bounds: harmless for the machine, and never waiting for ever.

Containers are made with an operator's token: host paths, host namespaces, added capabilities and privileged ones are refused to it, so that no
generated container reaches beyond its own walls. Only what needs an administrator (images, tokens) is called as one.
"""

import os

import schemathesis
from schemathesis.core.parameters import ParameterLocation

ADMINS = ("/api/v1/images", "/api/v1/tokens", "/api/v1/system")
# Prepared by run.py, and looked at only: what changes a container has another one.
RUNNING, ENDED, CHANGED = "fuzz-running", "fuzz-ended", "fuzz-changed"
CHANGES = ("/start", "/stop", "/restart", "/kill", "/pause", "/unpause")
OWN_TOKENS = ("test-clients", "fuzz-operator")


@schemathesis.auth(refresh_interval=None)
class Token:
    """The least that the route asks for."""

    def get(self, case, ctx):
        return os.environ["BERTH_TOKEN" if case.operation.path.startswith(ADMINS) else "BERTH_OPERATOR_TOKEN"]

    def set(self, case, data, ctx):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


def is_stateful(case):
    return case.meta is not None and case.meta.phase.name.value == "stateful"


def has_bad_path(case):
    return case.meta is not None and case.meta.is_negative_at(ParameterLocation.PATH)


def is_positive(case):
    return case.meta is None or case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(ctx, case, kwargs):
    path, method = case.operation.path, case.operation.method.upper()
    names = case.path_parameters or {}
    body = case.body if isinstance(case.body, dict) else {}
    if path.endswith("/wait"):
        # The only one of which it is known that it has ended: any other may never.
        if "name" in names and not has_bad_path(case):
            names["name"] = ENDED
        if body.get("condition") in ("running", "removed"):
            body["condition"] = "exited"
    elif is_positive(case) and not is_stateful(case):
        if body and "fieldValidation" in (case.query or {}):
            # Or nearly every generated body would be refused for a field that nobody knows.
            case.query["fieldValidation"] = "Ignore"
        if path.startswith("/api/v1/containers/{name}") and method != "DELETE":
            names["name"] = CHANGED if path.endswith(CHANGES) or method in ("PATCH", "PUT") else RUNNING
        if path == "/api/v1/containers" and isinstance(body.get("spec"), dict):
            body["spec"]["image"] = "fuzz"
        if path == "/api/v1/images/{reference}" and method == "GET":
            names["reference"] = "fuzz"
    if is_positive(case) and '"' not in (case.headers or {}).get("If-Match", '"'):
        # The coverage phase does not keep to the pattern of this header.
        case.headers["If-Match"] = '"0"'
    if path.startswith("/api/v1/tokens/") and method == "DELETE" and names.get("name") in OWN_TOKENS:
        names["name"] = "nobody"
    for place in (body, case.query or {}):
        # Nobody waits for a program that does not listen to the signal.
        if isinstance(place.get("gracePeriodSeconds"), int) and place["gracePeriodSeconds"] > 1:
            place["gracePeriodSeconds"] = 1
        if place.get("follow") in (True, "true", "1", ""):
            place["follow"] = False
