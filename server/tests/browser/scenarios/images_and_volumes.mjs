// An image comes in by a file and goes again, with scripts and without; a volume is made, used and deleted.

import assert from "node:assert/strict";

// A tar with one empty file of this name: one header block (see tar(5), ustar) and the two empty ones that end it.
function tar(file) {
  const block = Buffer.alloc(512);
  const put = (text, at) => block.write(text, at, "ascii");
  put(file, 0);
  put("0000644\0", 100);
  put("0000000\0", 108);
  put("0000000\0", 116);
  put("00000000000\0", 124);
  put("00000000000\0", 136);
  put("        ", 148);
  put("0", 156);
  put("ustar\0" + "00", 257);
  const sum = block.reduce((sum, byte) => sum + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([block, Buffer.alloc(1024)]);
}

export default async function ({ name, arrives }) {
  for (const javaScriptEnabled of [true, false]) {
    const person = await arrives({ javaScriptEnabled });
    await person.logsIn();
    await person.goes("/images");
    await person.page.locator("#upload > summary").click();
    const reference = `${name}-${javaScriptEnabled}:1`;
    await person.page.locator("#f-reference").fill(reference);
    await person.page.locator("#f-imageCommand").fill("sh -c 'echo hi'");
    await person.page.locator("#f-file").setInputFiles({ name: "root.tar", mimeType: "application/x-tar", buffer: Buffer.from("this is no tar at all".repeat(100)) });
    await person.presses("Upload");
    await person.page.locator("#fault-file-1").waitFor();
    assert.equal(await person.page.locator("#f-reference").inputValue(), reference);
    person.complaints.length = 0;
    await person.page.locator("#f-file").setInputFiles({ name: "root.tar", mimeType: "application/x-tar", buffer: tar(`${name}-${javaScriptEnabled}`) });
    await person.presses("Upload");
    await person.sees("h1", reference);
    await person.sees("dd .arg", "echo hi");
    await person.page.locator("#delete summary").click();
    await person.presses("Delete for good", "#delete");
    await person.sees(".flash", "was deleted");
    assert.equal(await person.page.locator("tbody", { hasText: reference }).count(), 0);
    person.noticedNothingWrong();
  }

  const person = await arrives();
  await person.logsIn();
  await person.goes("/volumes");
  await person.fills("Name", "Not A Name");
  await person.presses("Create");
  await person.page.locator("#fault-name-1").waitFor();
  person.complaints.length = 0;
  await person.fills("Name", name);
  await person.presses("Create");
  await person.sees("tbody", name);
  await person.api("POST", "/containers", {
    metadata: { name },
    spec: { image: "busybox:latest", mounts: [{ type: "volume", source: name, target: "/data" }], command: ["true"] },
  });
  const row = person.page.locator("tbody tr", { hasText: name });
  await row.getByRole("link", { name }).waitFor();
  assert.equal(await row.getByText("Delete").count(), 0, "a volume in use can be deleted");
  await person.api("DELETE", `/containers/${name}`);
  await row.locator("summary").click();
  await person.presses("Delete for good");
  await person.sees(".flash", `The volume ${name} was deleted.`);
}
