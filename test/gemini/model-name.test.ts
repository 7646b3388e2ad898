import { expect, test } from 'vitest';
import { normalizeModel } from '../../src/gemini/model-name.ts';

test.each([
  ['gemini-2.5-flash', 'gemini-2.5-flash'],
  ['models/gemini-2.5-flash', 'gemini-2.5-flash'],
  ['tunedModels/mine_1', 'tunedModels/mine_1'],
  ['', ''],
  ['m'.repeat(128), 'm'.repeat(128)],
  [`models/${'m'.repeat(128)}`, 'm'.repeat(128)],
])('"%s" is the model "%s"', (name, model) => expect(normalizeModel(name)).toBe(model));

test.each(['models/', 'm'.repeat(129), 'a b', 'gemini\n', 'gemini\0', 'gémini', 'a?b', 'models/ '])(
  '"%s" is no name of a model',
  (name) => expect(normalizeModel(name)).toBeUndefined(),
);
