import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { tempDir } from '../support/temp-dir.ts';
import { ROOT } from './root.ts';

const BIOME = join(ROOT, 'node_modules/.bin/biome');
const RULE = '--only=style/noRestrictedImports';

/** A file, and a module that its room may not know. One for each arrow that would run the wrong way. */
const FORBIDDEN: readonly [file: string, module: string][] = [
  ['src/gemini/planted.ts', '../engine/engine.ts'],
  ['src/gemini/planted.ts', 'node:fs'],
  ['src/engine/planted.ts', '../store/store.ts'],
  ['src/engine/planted.ts', '../server/server.ts'],
  ['src/engine/planted.ts', 'node:crypto'],
  ['src/store/planted.ts', '../server/server.ts'],
  ['src/store/sqlite/planted.ts', '../../client/connect.ts'],
  ['src/server/planted.ts', '../store/sqlite/sqlite-store.ts'],
  ['src/server/planted.ts', 'better-sqlite3'],
  ['src/server/service/planted.ts', '../../cli/program.ts'],
  ['src/client/planted.ts', '../server/server.ts'],
  ['src/client/planted.ts', '../store/open-store.ts'],
  ['src/client/planted.ts', '../engine/engine.ts'],
  ['test/fake-gemini/planted.ts', '../../src/gemini/classify.ts'],
];

const ALLOWED: readonly [file: string, module: string][] = [
  ['src/engine/planted.ts', '../gemini/finding.ts'],
  ['src/store/planted.ts', '../engine/engine.ts'],
  ['src/server/planted.ts', '../store/store.ts'],
  ['src/cli/planted.ts', '../server/server.ts'],
  ['src/client/planted.ts', '../gemini/redact.ts'],
  ['src/client/embedded.ts', '../server/service/services.ts'],
];

test('imports run one way: gen, gemini, engine, store, server, cli; the client knows gen and gemini', () => {
  expect(lint(ROOT, 'src', 'test/fake-gemini')).toEqual({ status: 0, restricted: 0 });
});

test.each(FORBIDDEN)('an import in %s of %s is refused', (file, module) => {
  expect(lint(plant(file, module), '.')).toEqual({ status: 1, restricted: 1 });
});

test.each(ALLOWED)('an import in %s of %s is taken', (file, module) => {
  expect(lint(plant(file, module), '.')).toEqual({ status: 0, restricted: 0 });
});

/** A tree with the project's rules and one file. */
function plant(file: string, module: string): string {
  const root = tempDir();
  for (const name of ['biome.json', '.gitignore']) cpSync(join(ROOT, name), join(root, name));
  const path = join(root, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `import '${module}';\n`);
  return root;
}

function lint(root: string, ...paths: string[]): { status: number | null; restricted: number } {
  const { status, stdout, stderr } = spawnSync(BIOME, ['lint', RULE, '--colors=off', ...paths], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status, restricted: `${stdout}${stderr}`.split('lint/style/noRestrictedImports').length - 1 };
}
