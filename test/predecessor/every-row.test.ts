import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../repository/root.ts';

/** What the predecessor, easy-gemini-balance, offers. */
const ROWS = 23;

test('each feature of the predecessor has a test whose name begins with its row', () => {
  const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' });
  const tested = new Set(
    files
      .filter((file) => file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(join(ROOT, 'test', file), 'utf8').matchAll(/['"`]row (\d+): /g)])
      .map(([, row]) => Number(row)),
  );
  const all = Array.from({ length: ROWS }, (_, i) => i + 1);
  expect(all.filter((row) => !tested.has(row))).toEqual([]);
});
