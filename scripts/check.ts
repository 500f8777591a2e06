/** The quick loop, `npm run check`: types, lint and unit tests at the same time, each told when it has ended. */
import { spawn } from "node:child_process";
import { exit, stdout } from "node:process";

const PARTS = ["types", "lint", "test:unit"] as const;

function run(part: string): Promise<boolean> {
  const child = spawn("npm", ["run", "--silent", part], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      stdout.write(`\n──── ${part}: ${code === 0 ? "passed" : "FAILED"} ────\n${output.trim()}\n`);
      resolve(code === 0);
    });
  });
}

exit((await Promise.all(PARTS.map(run))).every(Boolean) ? 0 : 1);
