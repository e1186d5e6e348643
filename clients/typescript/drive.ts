// A container's whole life through the generated client; docs/clients.md shows parts of it.
//
//     BERTH_URL=http://127.0.0.1:7777 BERTH_TOKEN=berth_… node drive.js busybox.tar

import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";

// example: connect
import {
  Configuration, ContainersApi, ErrorCode, ImagesApi, Phase, ProblemFromJSON, ResponseError, SystemApi,
} from "./berth-client";
import type { Problem } from "./berth-client";

const configuration = new Configuration({ basePath: process.env.BERTH_URL, accessToken: process.env.BERTH_TOKEN });
const containers = new ContainersApi(configuration);
const images = new ImagesApi(configuration);
// end

// example: problem
/** What the server said no with; anything else that went wrong is thrown on. */
async function problemOf(call: Promise<unknown>): Promise<Problem> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ResponseError) return ProblemFromJSON(await error.response.json());
    throw error;
  }
  throw new Error("it was not refused");
}
// end

async function life(file: string): Promise<void> {
  const { version } = await new SystemApi(configuration).getVersion();
  console.log("Berth", version);

  // example: import
  const body = new Blob([readFileSync(file)], { type: "application/x-tar" });
  const image = await images.importImage({ body, reference: "typescript-driver:latest", command: '["sh"]' });
  console.log(image.metadata.name, image.status.size, "bytes");
  // end
  assert.deepEqual(image.spec.references, ["docker.io/library/typescript-driver:latest"]);

  // example: create
  const made = await containers.createContainer({
    containerInput: {
      metadata: { name: "typescript-driver", labels: { driver: "typescript" } },
      spec: {
        image: "typescript-driver",
        command: ["sh", "-c", "echo hello from typescript; exec sleep 600"],
        resources: { memory: "64Mi", cpu: "500m", pids: 32 },
      },
    },
  });
  console.log(made.metadata.name, made.status.phase);
  // end
  assert.equal(made.status.phase, Phase.Created);
  assert.equal(made.spec.resources?.memory, "64Mi");
  assert.ok(made.metadata.creationTimestamp instanceof Date);

  // example: list
  const listed = await containers.listContainers({ labelSelector: "driver=typescript" });
  console.log(listed.items.map((item) => item.metadata.name));
  // end
  assert.deepEqual(listed.items.map((item) => item.metadata.name), ["typescript-driver"]);

  const name = "typescript-driver";
  // example: start
  await containers.startContainer({ name });
  const running = await containers.getContainer({ name });
  console.log(running.status.phase, running.status.pid);
  // end
  assert.equal(running.status.phase, Phase.Running);

  // example: exec
  const answer = await containers.execContainer({ name, execInput: { command: ["sh", "-c", "cat; exit 3"], stdin: "to the process\n" } });
  console.log(answer.exitCode, answer.stdout);
  // end
  assert.deepEqual([answer.exitCode, answer.stdout], [3, "to the process\n"]);

  // example: logs
  console.log(await containers.getContainerLogs({ name, tailLines: 10 }));
  // end
  assert.equal(await containers.getContainerLogs({ name }), "hello from typescript\n");

  // example: stats
  const stats = await containers.getContainerStats({ name });
  console.log(stats.memory.usageBytes, "of", stats.memory.limitBytes, "bytes");
  // end
  assert.ok(stats.memory.usageBytes! > 0 && stats.memory.usageBytes! <= 64 << 20);

  // example: patch
  const containerPatch = { metadata: { labels: { tier: "front" } }, spec: { resources: { memory: "96Mi" } } };
  const changed = await containers.patchContainer({ name, containerPatch, ifMatch: `"${running.metadata.resourceVersion}"` });
  // end
  assert.deepEqual(changed.metadata.labels, { driver: "typescript", tier: "front" });

  // example: stop
  await containers.stopContainer({ name, stopInput: { gracePeriodSeconds: 0 } });
  const ended = await containers.waitContainer({ name });
  console.log(ended.exitCode, ended.signal);
  // end
  assert.deepEqual([ended.exitCode, ended.signal], [137, "SIGKILL"]);

  // example: problems
  const nobody = await problemOf(containers.getContainer({ name: "nobody" }));
  console.log(nobody.status, nobody.code, nobody.detail);

  const tooSmall = { spec: { image: "typescript-driver", resources: { memory: "1" } } };
  const refused = await problemOf(containers.createContainer({ containerInput: tooSmall }));
  for (const error of refused.errors ?? []) console.log(error.path, error.message);
  // end
  assert.deepEqual([nobody.status, nobody.code], [404, ErrorCode.NotFound]);
  assert.deepEqual([refused.status, refused.code], [422, ErrorCode.InvalidSpec]);
  assert.deepEqual(refused.errors?.map((error) => error.path), ["/spec/resources/memory"]);

  // example: delete
  await containers.deleteContainer({ name, force: true });
  // end
  assert.equal((await problemOf(containers.getContainer({ name }))).status, 404);
  await images.deleteImage({ reference: "typescript-driver:latest" });
  console.log("typescript: a whole life");
}

life(process.argv[2]).catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
