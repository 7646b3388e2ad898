/**
 * Does what the Dockerfile says, as far as that goes without Docker: copies into a bare directory, runs the RUN lines there,
 * puts the final stage together, and then starts, asks and stops the server as a container would. Run by root, the server is
 * the image's user, who can write nowhere but in its volume, as on a read-only root file system.
 * Run: node test/repository/run-dockerfile.ts
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { environmentOf, execForm, readCopy, readStages, type Stage, textsOf } from './dockerfile.ts';
import { ROOT } from './root.ts';

/** The user "node" of the image. */
const NODE_USER = { uid: 1000, gid: 1000 };

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
  construct(build);
  construct(final);

  const app = rootOf(final);
  const dataDir = inScratch(textsOf(final, 'VOLUME')[0]!);
  const user = imageUser();
  expect((statSync(dataDir).mode & 0o777) === 0o700, 'its volume is open to others');
  const environment = {
    PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
    ...environmentOf(final),
    KEYBALANCER_DATA_DIR: dataDir,
  };
  const [command = '', ...words] = [textsOf(final, 'ENTRYPOINT'), textsOf(final, 'CMD')]
    .flatMap(([text]) => execForm(text!)!)
    .map((word) => word.replace(/^\/app\//, `${app}/`));

  const refused = spawnSync(command, words, { ...user, env: environment, encoding: 'utf8', timeout: 120_000 });
  expect(refused.status !== 0 && /TLS.*--insecure/s.test(refused.stderr), 'it does not refuse to serve in plain text');
  say(`without KEYBALANCER_INSECURE it says: ${refused.stderr.trim()}`);

  const doors = { KEYBALANCER_GRPC: '0.0.0.0:0', KEYBALANCER_HTTP: '0.0.0.0:0', KEYBALANCER_INSECURE: 'true' };
  const server = spawn(command, words, {
    ...user,
    cwd: app,
    env: { ...environment, ...doors },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(server);
  const http = await readyHttp(server);
  const [checkCommand = '', ...check] = execForm(textsOf(final, 'HEALTHCHECK')[0]!)!;
  const healthOf = (address: string) =>
    spawnSync(checkCommand, check, { ...user, env: { ...environment, KEYBALANCER_HTTP: address }, timeout: 60_000 })
      .status;
  expect(healthOf(http) === 0, 'its health check fails while it serves');
  // As deploy/ says it: a command in the running container.
  const imported = spawnSync('node', ['dist/src/cli/main.js', 'import', '-'], {
    ...user,
    cwd: app,
    env: environment,
    input: 'AQ.test-key-000001\n',
    encoding: 'utf8',
    timeout: 120_000,
  });
  expect(imported.status === 0, `import in the running container ends with ${imported.status}: ${imported.stderr}`);
  server.kill('SIGTERM');
  const [code] = (await once(server, 'exit')) as [number | null];
  expect(code === 0, `it ends with ${code} on SIGTERM`);
  expect(healthOf(http) === 1, 'its health check does not fail once it is gone');
  const size = Number(execFileSync('du', ['-sm', app], { encoding: 'utf8' }).split('\t')[0]);
  say(
    `it served, was healthy, and stopped in good order, as user ${user.uid ?? process.getuid?.()}; ${size} MB beside Node`,
  );
  expect(size < 80, `it has grown to ${size} MB beside Node`);
}

/** Who runs the server: the image's user where that can be, else whoever runs this. */
function imageUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  chmodSync(scratch, 0o755);
  const { status } = spawnSync(process.execPath, ['-e', ''], NODE_USER);
  if (status === 0) return NODE_USER;
  say(`user ${NODE_USER.uid} cannot run ${process.execPath}, so the server runs as root`);
  chownSync(inScratch('/var/lib/keybalancer'), 0, 0);
  return {};
}

/** Where a directory of the image, outside of its WORKDIR, is here. */
function inScratch(path: string): string {
  return join(scratch, path);
}

/** A RUN line as it can be run here: the final stage's makes a directory of the image's user, who has a number everywhere but not a name. */
function runnable(text: string): string {
  const owner = process.getuid?.() === 0 ? `-o ${NODE_USER.uid} -g ${NODE_USER.gid}` : '';
  return text.replace('-o node -g node', owner).replaceAll(/(?<= )\/var\/\S+/g, inScratch);
}

/** Directory that stands for a stage's WORKDIR. */
function rootOf(stage: Stage): string {
  return join(scratch, stage.alias === '' ? 'final' : stage.alias);
}

function construct(stage: Stage): void {
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
    } else if (instruction.name === 'RUN') {
      const began = performance.now();
      execFileSync('/bin/sh', ['-c', runnable(instruction.text)], {
        cwd: root,
        stdio: ['ignore', 'ignore', 'inherit'],
        env: {
          PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
          HOME: process.env.HOME,
          // Where the way to the registry leads through a proxy with a certificate of its own.
          NODE_EXTRA_CA_CERTS: process.env.NODE_EXTRA_CA_CERTS,
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
