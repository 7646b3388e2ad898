import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { ROOT } from '../repository/root.ts';
import { anchorsOf, documents, fencesOf, linksOf, pathsOf } from './markdown.ts';
import { runBlocks, typeErrors } from './run-blocks.ts';

/** What blocks may be: a shell, a program, or what one prints. */
const LANGUAGES = ['sh', 'ts', 'text'];

/** Run by tests that know what they need: test/languages, test/cli/help-examples.test.ts. Translations have the same blocks. */
const ELSEWHERE = ['docs/other-languages.md', 'docs/cli.md', 'README.zh-CN.md'];

const runnable = documents()
  .filter((document) => !ELSEWHERE.includes(document) && !document.startsWith('docs/zh/'))
  .filter((document) => fencesOf(document).some(({ language }) => language !== 'text'));
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

test('every block of every document is one that is run, or says that it is output', () => {
  const others = documents().flatMap((document) =>
    fencesOf(document)
      .filter(({ language }) => !LANGUAGES.includes(language))
      .map(({ line }) => `${document}:${line}`),
  );
  expect(others).toEqual([]);
});

test.each(runnable)('the blocks of %s run, in their order', async (document) => {
  const fake = await startFakeGemini({ acceptUnknownKeys: true });
  onTestFinished(() => fake.close());
  const { code, output } = await runBlocks(document, fencesOf(document), fake.url);
  expect(code, output).toBe(0);
});

test('the programs of the documents have the types that the package declares', async () => {
  const programs = documents().flatMap((document) => fencesOf(document).filter(({ language }) => language === 'ts'));
  expect(await typeErrors(programs)).toBe('');
});

test('the two commands of the README are there, and CI runs the second', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['demo', 'test']));
  expect(readme).toContain('\nnpm ci && npm run demo');
  expect(readme).toContain('\nnpm ci && npm test');
  const ci = readFileSync(join(ROOT, '.ci/run'), 'utf8');
  expect(ci.indexOf(' npm ci\n')).toBeGreaterThan(0);
  expect(ci.indexOf(' npm test\n')).toBeGreaterThan(ci.indexOf(' npm ci\n'));
});

test.each(documents())('links in %s lead somewhere', (document) => {
  const broken = linksOf(document).filter((link) => {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? document : normalize(join(dirname(document), path));
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test('files and folders of the repository that documents name are there', () => {
  const named = documents().flatMap((document) => pathsOf(document).map((path) => ({ document, path })));
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter(({ path }) => !existsSync(join(ROOT, path)))).toEqual([]);
});
