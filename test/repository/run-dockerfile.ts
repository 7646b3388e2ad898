/**
 * Does what the Dockerfile says, as far as that goes without Docker: copies into a bare directory, runs the build stage's RUN
 * lines there, puts the final stage together, and then starts, asks and stops the server as a container would.
 * Run: node test/repository/run-dockerfile.ts
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { environmentOf, execForm, readCopy, readStages, type Stage, textsOf } from './dockerfile.ts';
import { ROOT } from './root.ts';

const scratch = mkdtempSync(join(tmpdir(), 'keybalancer-image-'));
const children: ChildProcess[] = [];
try {
  await run();
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true, force: true });
}

async function run(): Promise<void> {
  const [build, final] = readStages(join(ROOT, 'Dockerfile')) as [Stage, Stage];
  construct(build, { runs: true });
  construct(final, { runs: false });

  const app = rootOf(final);
  const environment = {
    PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
    ...environmentOf(final),
    KEYBALANCER_DATA_DIR: join(scratch, 'data'),
  };
  const [command = '', ...words] = [textsOf(final, 'ENTRYPOINT'), textsOf(final, 'CMD')]
    .flatMap(([text]) => execForm(text!)!)
    .map((word) => word.replace(/^\/app\//, `${app}/`));

  const refused = spawnSync(command, words, { env: environment, encoding: 'utf8', timeout: 20_000 });
  expect(refused.status !== 0 && /TLS.*--insecure/s.test(refused.stderr), 'it does not refuse to serve in plain text');
  say(`without KEYBALANCER_INSECURE it says: ${refused.stderr.trim()}`);

  const doors = { KEYBALANCER_GRPC: '0.0.0.0:0', KEYBALANCER_HTTP: '0.0.0.0:0', KEYBALANCER_INSECURE: 'true' };
  const server = spawn(command, words, { env: { ...environment, ...doors }, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(server);
  const http = await readyHttp(server);
  const [checkCommand = '', ...check] = execForm(textsOf(final, 'HEALTHCHECK')[0]!)!;
  const healthOf = (address: string) =>
    spawnSync(checkCommand, check, { env: { ...environment, KEYBALANCER_HTTP: address }, timeout: 10_000 }).status;
  expect(healthOf(http) === 0, 'its health check fails while it serves');
  server.kill('SIGTERM');
  const [code] = (await once(server, 'exit')) as [number | null];
  expect(code === 0, `it ends with ${code} on SIGTERM`);
  expect(healthOf(http) === 1, 'its health check does not fail once it is gone');
  say('it served, was healthy, and stopped in good order');
}

/** Directory that stands for a stage's WORKDIR. */
function rootOf(stage: Stage): string {
  return join(scratch, stage.alias === '' ? 'final' : stage.alias);
}

function construct(stage: Stage, { runs }: { runs: boolean }): void {
  const root = rootOf(stage);
  mkdirSync(root);
  for (const instruction of stage.instructions) {
    if (instruction.name === 'COPY') {
      const { from, sources, target } = readCopy(instruction);
      for (const source of sources) {
        const path = from === undefined ? join(ROOT, source) : source.replace(/^\/app/, join(scratch, from));
        const into = join(root, target);
        cpSync(path, target.endsWith('/') ? join(into, basename(source)) : into, {
          recursive: true,
          verbatimSymlinks: true,
        });
      }
    } else if (instruction.name === 'RUN' && runs) {
      const began = performance.now();
      execFileSync('/bin/sh', ['-c', instruction.text], {
        cwd: root,
        stdio: ['ignore', 'ignore', 'inherit'],
        env: {
          PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
          HOME: process.env.HOME,
          // The same packages were most likely installed a moment ago.
          npm_config_prefer_offline: 'true',
        },
      });
      say(`${instruction.text}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
    }
  }
}

async function readyHttp(server: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: server.stdout! })) {
    const address = /^ready .*http=(\S+)/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error('the image: its server ended before it was ready');
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(`the image: ${otherwise}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
