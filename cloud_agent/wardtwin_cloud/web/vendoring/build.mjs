// Builds ../assets/vendor from node_modules: one minified ES module per library, its style sheet and its licence.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";

const vendor = new URL("../assets/vendor/", import.meta.url);

async function version(name) {
  return JSON.parse(await readFile(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;
}

async function uplot() {
  const to = new URL("uplot/", vendor);
  await mkdir(to, { recursive: true });
  await build({
    stdin: { contents: 'export { default } from "uplot";', resolveDir: import.meta.dirname },
    bundle: true,
    format: "esm",
    minify: true,
    target: "es2022",
    legalComments: "none",
    banner: { js: `/* uPlot ${await version("uplot")} (MIT, see LICENSE), built by web/vendoring */` },
    outfile: new URL("uplot.js", to).pathname,
  });
  await copyFile(new URL("node_modules/uplot/dist/uPlot.min.css", import.meta.url), new URL("uplot.css", to));
  await copyFile(new URL("node_modules/uplot/LICENSE", import.meta.url), new URL("LICENSE", to));
}

await uplot();
await writeFile(new URL("VERSIONS.txt", vendor), `uplot ${await version("uplot")}\n`);
