#!/usr/bin/env node
// The server process itself, never a launcher of one: a signal to it must reach the server.
// Only what Node 14 can read, and nothing imported from above the check: an older Node must get the message below.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 22 || (major === 22 && minor < 15)) {
  process.stderr.write(`keybalancer: this is Node ${process.versions.node}, and Node 22.15 or newer is needed\n`);
  process.exitCode = 1;
} else {
  const { run } = await import('./program.ts');
  await run(process.argv.slice(2));
}

export {};
