// The wire goldens and the tag's checks on a 32-bit MicroPython: small ints of 31 bits, ticks that wrap at 2^30, sys.maxsize 2^31 - 1.
// Usage: npm ci && node run.mjs [MODULE…]; prints what the Python side prints; exit code 0 only when all hold.
import { createCipheriv } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript/micropython.mjs";

const LIB = join(dirname(fileURLToPath(import.meta.url)), "..", "lib");
const HEAP_BYTES = 160 * 1024;

const micropython = await loadMicroPython({ heapsize: HEAP_BYTES, linebuffer: true, stdout: (line) => console.log(line) });

// this build has no cryptolib: one AES block by Node's OpenSSL stands in
micropython.registerJsModule("node_aes", {
  block(key, text) {
    const cipher = createCipheriv("aes-128-ecb", Buffer.from(key, "hex"), null).setAutoPadding(false);
    return Buffer.concat([cipher.update(Buffer.from(text, "hex")), cipher.final()]).toString("hex");
  },
});
micropython.FS.mkdir("/lib");
micropython.FS.writeFile(
  "/lib/cryptolib.py",
  `
import node_aes

class aes:
    def __init__(self, key, mode):
        assert mode == 1
        self._key = bytes(key).hex()

    def encrypt(self, data):
        return bytes.fromhex(node_aes.block(self._key, bytes(data).hex()))
`,
);

function copy(folder, to) {
  micropython.FS.mkdir(to);
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) copy(path, `${to}/${name}`);
    else if (/\.(py|json)$/.test(name)) micropython.FS.writeFile(`${to}/${name}`, readFileSync(path));
  }
}
copy(join(LIB, "wardtwin_wire"), "/lib/wardtwin_wire");
copy(join(LIB, "wardtwin_tag"), "/lib/wardtwin_tag");

const modules = process.argv.slice(2);
micropython.runPython(`
import sys
assert sys.maxsize == 2**31 - 1, "not a 32-bit build"
sys.path.append("/lib")
from wardtwin_wire.tests import goldens
print("goldens ok:", goldens.check(goldens._micropython_block, "/lib/wardtwin_wire/tests/golden/frames.json"))
from wardtwin_tag.tests import run_checks
run_checks.main(${JSON.stringify(modules)})
`);
