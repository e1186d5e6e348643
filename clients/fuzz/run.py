"""Tries a started Berth with what its document allows, and with what it does not.

    BERTH_URL=… BERTH_TOKEN=(an administrator's) python3 run.py openapi/berth.json busybox.tar [SECONDS]

Makes an image and a few containers to be looked at, then runs schemathesis on it: every phase, every check, always the same seed.
"""

import os
import subprocess
import sys
from pathlib import Path

import httpx

SEED = "20260131"
HERE = Path(__file__).parent


def prepare(client, tar):
    """An image and containers in the states that most operations are about."""

    def call(method, path, status, **more):
        answer = client.request(method, path, **more)
        if answer.status_code != status:
            sys.exit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    call("POST", "/api/v1/images/import?reference=fuzz", 201, content=tar.read_bytes(), headers={"content-type": "application/x-tar"})
    listens = "trap 'exit 0' TERM; while :; do sleep 1; done"
    for name, script in (("fuzz-running", listens), ("fuzz-changed", listens), ("fuzz-ended", "echo it was here")):
        spec = {"image": "fuzz", "command": ["sh", "-c", script], "resources": {"memory": "64Mi", "pids": 64}}
        call("POST", "/api/v1/containers", 201, json={"metadata": {"name": name}, "spec": spec})
        call("POST", f"/api/v1/containers/{name}/start", 204)
    call("POST", "/api/v1/containers/fuzz-ended/wait", 200, json={})
    token = call("POST", "/api/v1/tokens", 201, json={"metadata": {"name": "fuzz-operator"}, "spec": {"role": "operator"}})
    return token.json()["secret"]


def main():
    document, tar = sys.argv[1], Path(sys.argv[2])
    seconds = sys.argv[3] if len(sys.argv) > 3 else "150"
    url = os.environ["BERTH_URL"]
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {os.environ['BERTH_TOKEN']}"}, timeout=60) as client:
        operator = prepare(client, tar)
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml", "run", document]
    command += ["--url", url, "--seed", SEED, "--max-time", seconds, "--no-color", "--workers", "1"]
    environment = os.environ | {"BERTH_OPERATOR_TOKEN": operator, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environment, cwd=HERE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
