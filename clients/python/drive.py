"""A container's whole life through the generated client; docs/clients.md shows parts of it.

    BERTH_URL=http://127.0.0.1:7777 BERTH_TOKEN=berth_… python3 drive.py busybox.tar
"""

import os
import sys
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

# example: connect
from berth_client import AuthenticatedClient
from berth_client.api.containers import (
    create_container,
    delete_container,
    exec_container,
    get_container,
    get_container_logs,
    get_container_stats,
    list_containers,
    patch_container,
    start_container,
    stop_container,
    wait_container,
)
from berth_client.api.images import delete_image, import_image
from berth_client.api.system import get_version
from berth_client.models import (
    Container,
    ContainerInput,
    ContainerPatch,
    ContainerSpec,
    ErrorCode,
    ExecInput,
    MetadataInput,
    MetadataInputLabels,
    Phase,
    Problem,
    Resources,
    StopInput,
    WaitInput,
)
from berth_client.types import File

client = AuthenticatedClient(base_url=os.environ["BERTH_URL"], token=os.environ["BERTH_TOKEN"], raise_on_unexpected_status=True)
print("Berth", get_version.sync(client=client).version)
# end

# example: import
tar = File(payload=BytesIO(Path(sys.argv[1]).read_bytes()))
image = import_image.sync(client=client, body=tar, reference="python-driver:latest", command='["sh"]')
print(image.metadata.name, image.status.size, "bytes")
# end
assert image.kind == "Image" and image.spec.references == ["docker.io/library/python-driver:latest"], image

# example: create
wish = ContainerInput(
    metadata=MetadataInput(name="python-driver", labels=MetadataInputLabels.from_dict({"driver": "python"})),
    spec=ContainerSpec(
        image="python-driver",
        command=["sh", "-c", "echo hello from python; exec sleep 600"],
        resources=Resources(memory="64Mi", cpu="500m", pids=32),
    ),
)
container = create_container.sync(client=client, body=wish)
assert isinstance(container, Container), container
print(container.metadata.name, container.status.phase)
# end
assert container.status.phase == Phase.CREATED
assert container.spec.resources.memory == "64Mi"
assert container.metadata.creation_timestamp.tzinfo is not None

# example: list
listed = list_containers.sync(client=client, label_selector="driver=python")
print([item.metadata.name for item in listed.items])
# end
assert [item.metadata.name for item in listed.items] == ["python-driver"]
assert listed.metadata.remaining_item_count == 0

# example: start
started = start_container.sync_detailed("python-driver", client=client, body=None)
assert started.status_code == HTTPStatus.NO_CONTENT, started.parsed
# end
container = get_container.sync("python-driver", client=client)
assert container.status.phase == Phase.RUNNING and container.status.pid > 1, container.status

# example: exec
answer = exec_container.sync("python-driver", client=client, body=ExecInput(command=["sh", "-c", "cat; exit 3"], stdin="to the process\n"))
print(answer.exit_code, answer.stdout)
# end
assert (answer.exit_code, answer.stdout) == (3, "to the process\n"), answer

# example: logs
print(get_container_logs.sync("python-driver", client=client, tail_lines=10))
# end
assert get_container_logs.sync("python-driver", client=client) == "hello from python\n"

# example: stats
stats = get_container_stats.sync("python-driver", client=client)
print(stats.memory.usage_bytes, "of", stats.memory.limit_bytes, "bytes")
# end
assert 0 < stats.memory.usage_bytes <= 64 << 20 and stats.pids.current >= 1, stats

# example: patch
change = ContainerPatch.from_dict({"metadata": {"labels": {"tier": "front"}}, "spec": {"resources": {"memory": "96Mi"}}})
container = patch_container.sync("python-driver", client=client, body=change, if_match=f'"{container.metadata.resource_version}"')
# end
assert container.metadata.labels["tier"] == "front" and container.metadata.labels["driver"] == "python", container

# example: stop
stop_container.sync("python-driver", client=client, body=StopInput(grace_period_seconds=0))
ended = wait_container.sync("python-driver", client=client, body=WaitInput())
print(ended.exit_code, ended.signal)
# end
assert (ended.exit_code, ended.signal) == (137, "SIGKILL"), ended

# example: problems
nobody = get_container.sync("nobody", client=client)
assert isinstance(nobody, Problem)
print(nobody.status, nobody.code, nobody.detail)

refused = create_container.sync(client=client, body=ContainerInput(spec=ContainerSpec(image="python-driver", resources=Resources(memory="1"))))
assert isinstance(refused, Problem)
for error in refused.errors:
    print(error.path, error.message)
# end
assert (nobody.status, nobody.code) == (404, ErrorCode.NOT_FOUND), nobody
assert (refused.status, refused.code) == (422, ErrorCode.INVALID_SPEC), refused
assert [error.path for error in refused.errors] == ["/spec/resources/memory"], refused

# example: delete
delete_container.sync("python-driver", client=client, force=True)
# end
assert isinstance(get_container.sync("python-driver", client=client), Problem)
assert delete_image.sync_detailed("python-driver:latest", client=client).status_code == HTTPStatus.NO_CONTENT
print("python: a whole life")
