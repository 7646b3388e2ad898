import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cliReference, leaves, REFERENCE } from '../../scripts/cli-reference.ts';

const reference = readFileSync(REFERENCE, 'utf8');

test('docs/cli.md is what npm run cli-reference would write', async () => {
  expect(reference).toBe(await cliReference());
});

test('docs/cli.md has each command once, and of each command with --json what it prints', async () => {
  const all = await leaves();
  expect([...reference.matchAll(/^## (.*)$/gm)].map(([, path]) => path)).toEqual(all.map(({ path }) => path));
  const silent = all
    .filter(({ command }) => command.options.some(({ long }) => long === '--json'))
    .filter(({ notes }) => !notes.some((note) => note.includes('--json')));
  expect(silent.map(({ path }) => path)).toEqual([]);
});
