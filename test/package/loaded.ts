import { execFile } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { ROOT } from '../repository/root.ts';
import { tempDir } from '../support/temp-dir.ts';

export interface Loaded {
  /** Files of this package, from dist/ on. */
  own: string[];
  /** Other packages, and modules of Node. */
  others: string[];
  ownBytes: number;
  bytes: number;
  /** Time of the first import, of all that it imports, in milliseconds. */
  ms: number;
}

interface Noted {
  urls: string[];
  native: string[];
  ms: number;
}

const NOTES = `
import { registerHooks } from 'node:module';
globalThis.noted = { urls: [] };
registerHooks({
  load(url, context, next) {
    globalThis.noted.urls.push(url);
    return next(url, context);
  },
});
`;

/** What a process loads that imports an entry point of the package, and then does something with it, as `entry`. */
export async function loadedBy(entry: string, does = '', env: Record<string, string> = {}): Promise<Loaded> {
  const dir = tempDir();
  const notes = join(dir, 'notes.mjs');
  writeFileSync(notes, NOTES);
  const program = `
    const began = performance.now();
    const entry = await import(${JSON.stringify(pathToFileURL(join(ROOT, 'dist', entry)).href)});
    const ms = performance.now() - began;
    ${does}
    process.stdout.write(JSON.stringify({ ...globalThis.noted, native: process.moduleLoadList, ms }));`;
  const script = join(dir, 'program.mjs');
  writeFileSync(script, program);
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', pathToFileURL(notes).href, script], {
    env: { PATH: process.env.PATH, HOME: dir, ...env },
    maxBuffer: 1 << 26,
    timeout: 120_000,
  });
  const { urls, native, ms } = JSON.parse(stdout) as Noted;
  const files = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  const dist = join(ROOT, 'dist/');
  const own = files.filter((path) => path.startsWith(dist));
  const size = (paths: readonly string[]): number => paths.reduce((sum, path) => sum + statSync(path).size, 0);
  const installed = files.filter((path) => path.includes('/node_modules/'));
  const packages = installed.map((path) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)![1]!);
  const builtin = native.map((line) => line.replace(/^NativeModule /, 'node:'));
  return {
    own: own.map((path) => path.slice(dist.length)),
    others: [...new Set([...packages, ...builtin, ...urls.filter((url) => url.startsWith('node:'))])],
    ownBytes: size(own),
    bytes: size([...own, ...installed]),
    ms,
  };
}
