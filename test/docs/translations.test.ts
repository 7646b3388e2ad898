import { expect, test } from 'vitest';
import { documents, fencesOf } from './markdown.ts';

/** The translation, and what it is one of. */
const TRANSLATIONS: readonly (readonly [string, string])[] = [
  ['README.zh-CN.md', 'README.md'],
  ...documents()
    .filter((document) => document.startsWith('docs/zh/'))
    .map((document) => [document, document.replace('docs/zh/', 'docs/')] as const),
];

test('the quick start, the command line and the migration are there in Chinese', () => {
  const there = TRANSLATIONS.map(([translation]) => translation);
  expect(there).toEqual(expect.arrayContaining(['docs/zh/quick-start.md', 'docs/zh/cli.md', 'docs/zh/migration.md']));
});

test.each(TRANSLATIONS)('%s has the blocks of %s, to the letter', (translation, original) => {
  const blocksOf = (document: string) => fencesOf(document).map(({ language, code }) => ({ language, code }));
  expect(blocksOf(original).length).toBeGreaterThan(0);
  expect(blocksOf(translation)).toEqual(blocksOf(original));
});
