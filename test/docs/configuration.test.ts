import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { configurationReference, REFERENCE } from '../../scripts/configuration-reference.ts';
import { SCHEMA } from '../../src/server/config/schema.ts';
import { FIELDS } from '../../src/server/config/settings.ts';

test('docs/configuration.md is what npm run configuration-reference would write', () => {
  expect(readFileSync(REFERENCE, 'utf8')).toBe(configurationReference());
});

test('every setting is read by the schema, and nothing else is', () => {
  expect(Object.keys(SCHEMA.shape).sort()).toEqual([...FIELDS].sort());
});
