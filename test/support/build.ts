import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { ROOT } from '../repository/root.ts';

/** The command line as it is installed, which starts in half the time of its source. */
export const MAIN = join(ROOT, 'dist/src/cli/main.js');

/** What the build is made from. */
const SOURCES = ['src', 'test/fake-gemini', 'tsconfig.json', 'tsconfig.build.json', 'package.json'];

/** Before any test, and again when files change: the programs that tests start are those of this source. */
export function setup(project: TestProject): void {
  build();
  project.onTestsRerun(async () => build());
}

function build(): void {
  const built = statSync(MAIN, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (SOURCES.flatMap(filesOf).every((file) => statSync(file).mtimeMs < built)) return;
  execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--noEmitOnError'], {
    cwd: ROOT,
    stdio: 'inherit',
  });
}

function filesOf(source: string): string[] {
  const path = join(ROOT, source);
  if (statSync(path).isFile()) return [path];
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
