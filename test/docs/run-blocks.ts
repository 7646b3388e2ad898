import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from '../repository/root.ts';
import { MAIN } from '../support/build.ts';
import { freePort } from '../support/free-port.ts';
import { INHERITED } from '../support/inherited.ts';
import { tempDir } from '../support/temp-dir.ts';
import type { Fence } from './markdown.ts';

/** Commands that stand for much more than a block: that they exist is tested elsewhere, and here they are left out. */
const WHOLE_PROJECT = /^npm ci\b/;

export interface Run {
  code: number | null;
  /** What the blocks wrote, with a line before each that says where it stands. */
  output: string;
}

/**
 * Runs the blocks of one document, shell and TypeScript in their order, by one shell in an empty directory with a home of its
 * own. `npx` runs this checkout's programs, `dist/` leads to this checkout's, and free ports take the place of the default ones.
 * A server that a block ends must be gone then.
 */
export async function runBlocks(document: string, fences: readonly Fence[], geminiUrl: string): Promise<Run> {
  const dir = tempDir();
  const [grpc, http] = [await freePort(), await freePort()];
  const here = (text: string): string => withFreePorts(text, grpc, http);
  installPackages(dir);
  // As in a checkout, where whoever follows the document stands.
  for (const name of ['dist', 'proto', 'third_party', 'examples']) symlinkSync(join(ROOT, name), join(dir, name));
  const script = [
    'set -euo pipefail',
    // What a block kills is a server, of which nothing may be left.
    `nobody_listens() { for port in ${grpc} ${http}; do ! (: < /dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo "port $port is in use after: $1"; exit 1; }; done; }`,
    // What a block left running in the background ends with the script.
    `trap 'code=$?; running=$(jobs -p); [ -z "$running" ] || kill $running; wait; exit $code' EXIT`,
  ];
  for (const [index, { language, code, line }] of fences.entries()) {
    script.push(`echo '--- ${document}:${line}'`);
    if (language === 'sh') {
      script.push(here(withoutWholeProject(withThisCheckout(code))));
      for (const kill of code.match(/^kill .*$/gm) ?? []) script.push(`nobody_listens '${kill}'`);
    } else if (language === 'ts') {
      const file = `block-${index + 1}.ts`;
      writeFileSync(join(dir, file), here(code));
      script.push(`'${process.execPath}' ${file}`);
    }
  }
  const environment = {
    ...INHERITED,
    PATH: `${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
    HOME: join(dir, 'home'),
    XDG_DATA_HOME: join(dir, 'home', 'data'),
    KEYBALANCER_GRPC: `127.0.0.1:${grpc}`,
    KEYBALANCER_HTTP: `127.0.0.1:${http}`,
    GOOGLE_GEMINI_BASE_URL: geminiUrl,
    KEYBALANCER_GEMINI_BASE_URL: geminiUrl,
  };
  return shell(script.join('\n'), dir, environment);
}

/** Types of the TypeScript blocks against the package as users get it. "": they are right. */
export async function typeErrors(fences: readonly Fence[]): Promise<string> {
  const dir = tempDir();
  installPackages(dir);
  for (const [index, { code }] of fences.entries()) writeFileSync(join(dir, `block-${index + 1}.ts`), code);
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  };
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  const { code, output } = await shell(`'${join(ROOT, 'node_modules/.bin/tsc')}' -p .`, dir, {
    PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
  });
  return code === 0 ? '' : output;
}

/** As after `npm install keybalancer @google/genai`, and Express for the recipe of a server. */
function installPackages(dir: string): void {
  const modules = join(dir, 'node_modules');
  for (const scope of ['@google', '@types']) mkdirSync(join(modules, scope), { recursive: true });
  mkdirSync(join(dir, 'home'));
  symlinkSync(ROOT, join(modules, 'keybalancer'));
  for (const name of ['@google/genai', 'express', '@types/express']) {
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(dir, 'package.json'), '{ "type": "module" }\n');
}

function withThisCheckout(code: string): string {
  // A program in its place would end where npx, which passes no SIGTERM on, leaves the server running.
  if (/npx keybalancer .*&$/m.test(code)) throw new Error('npx in the background: a kill would not reach the server');
  return code
    .replaceAll('npx keybalancer', `'${process.execPath}' '${MAIN}'`)
    .replaceAll('npx buf', `'${ROOT}/node_modules/.bin/buf'`);
}

function withFreePorts(text: string, grpc: number, http: number): string {
  return text.replaceAll('127.0.0.1:50051', `127.0.0.1:${grpc}`).replaceAll('127.0.0.1:8051', `127.0.0.1:${http}`);
}

function withoutWholeProject(code: string): string {
  return code
    .split('\n')
    .filter((line) => !WHOLE_PROJECT.test(line))
    .join('\n');
}

function shell(script: string, cwd: string, env: Readonly<NodeJS.ProcessEnv>): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', script], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (text: string): void => {
      output += text;
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}
