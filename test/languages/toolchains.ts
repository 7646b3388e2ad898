import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Fence, fencesOf } from '../docs/markdown.ts';
import { ROOT } from '../repository/root.ts';
import { INHERITED } from '../support/inherited.ts';

export const DOCUMENT = 'docs/other-languages.md';

const PATH = '/usr/local/bin:/usr/bin:/bin';

/** What a section of the document needs, and the Debian packages that have it. */
const NEEDS: Record<string, { packages: string; has: () => boolean }[]> = {
  curl: [
    { packages: 'curl', has: () => runs('curl', '--version') },
    { packages: 'jq', has: () => runs('jq', '--version') },
  ],
  Python: [
    { packages: 'protobuf-compiler', has: () => runs('protoc', '--version') },
    { packages: 'protobuf-compiler-grpc', has: () => existsSync('/usr/bin/grpc_python_plugin') },
    {
      packages: 'python3-grpcio python3-protobuf',
      has: () => runs('/usr/bin/python3', '-c', 'import grpc, google.protobuf'),
    },
  ],
  Go: [
    { packages: 'protobuf-compiler', has: () => runs('protoc', '--version') },
    { packages: 'golang-go', has: () => runs('go', 'version') },
    { packages: 'protoc-gen-go-1-5', has: () => existsSync('/usr/bin/protoc-gen-go') },
    { packages: 'protoc-gen-go-grpc', has: () => existsSync('/usr/bin/protoc-gen-go-grpc') },
    {
      packages: 'golang-google-grpc-dev golang-google-protobuf-dev golang-github-golang-protobuf-1-5-dev',
      has: () => ['grpc', 'protobuf'].every((name) => existsSync(`/usr/share/gocode/src/google.golang.org/${name}`)),
    },
  ],
};
NEEDS['buf curl'] = NEEDS.curl!;

/** Why a section cannot be tried on this machine, which is printed too; "": it can. */
export function lacking(section: string): string {
  const missing = (NEEDS[section] ?? []).filter(({ has }) => !has()).map(({ packages }) => packages);
  if (missing.length === 0) return '';
  const reason = `${section} is not tried: missing of Debian's packages ${missing.join(' ')}`;
  process.stderr.write(`${reason}\n`);
  return reason;
}

/** Shell blocks of a section of the document. */
export function blocksOf(section: string): Fence[] {
  const lines = readFileSync(join(ROOT, DOCUMENT), 'utf8').split('\n');
  const start = lines.indexOf(`## ${section}`);
  const next = lines.findIndex((line, index) => index > start && line.startsWith('## '));
  const fences = fencesOf(DOCUMENT).filter(({ line }) => line > start && (next === -1 || line <= next));
  if (start === -1 || fences.length === 0) throw new Error(`${DOCUMENT} has no blocks under "${section}"`);
  return fences;
}

/** How a program is started. */
export interface Command {
  command: string;
  args: string[];
  env: Record<string, string>;
}

/** The two programs of a language, made ready in a directory by the commands of the document. */
export interface Programs {
  callGemini: Command;
  watchHealth: Command;
}

export function preparePython(dir: string): Programs {
  generate('Python', dir);
  const env = { PATH, PYTHONPATH: join(dir, 'generated/python'), PYTHONDONTWRITEBYTECODE: '1' };
  const program = (name: string): Command => ({
    command: '/usr/bin/python3',
    args: [join(ROOT, 'examples/python', `${name}.py`)],
    env,
  });
  return { callGemini: program('call_gemini'), watchHealth: program('watch_health') };
}

export function prepareGo(dir: string): Programs {
  generate('Go', dir);
  const program = (name: string): Command => {
    const command = join(dir, 'generated', name);
    const gopath = `${join(dir, 'generated/go')}:/usr/share/gocode`;
    const env = { ...INHERITED, PATH, HOME: dir, GO111MODULE: 'off', GOPATH: gopath };
    done(spawnSync('go', ['build', '-o', command, `examples/go/${name}/main.go`], { cwd: dir, env, encoding: 'utf8' }));
    return { command, args: [], env: {} };
  };
  return { callGemini: program('callgemini'), watchHealth: program('watchhealth') };
}

/** Runs the first block of the section, which generates. */
function generate(section: string, dir: string): void {
  mkdirSync(dir, { recursive: true });
  for (const name of ['proto', 'third_party', 'examples']) symlinkSync(join(ROOT, name), join(dir, name));
  const [block] = blocksOf(section);
  done(spawnSync('bash', ['-euc', block!.code], { cwd: dir, env: { PATH }, encoding: 'utf8' }));
}

function done({ status, stderr, error }: { status: number | null; stderr: string; error?: Error }): void {
  if (status !== 0) throw error ?? new Error(stderr);
}

function runs(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { env: { PATH }, stdio: 'ignore' }).status === 0;
}
