import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Declaration, declarationsOf } from '../../scripts/declarations.ts';
import { ROOT } from '../repository/root.ts';
import { fencesOf } from './markdown.ts';

const DOCUMENT = 'docs/client.md';
const text = readFileSync(join(ROOT, DOCUMENT), 'utf8');

/** The rows of the table in a section, without its head: the cells of each. */
function tableOf(heading: string): string[][] {
  const [, section = ''] = text.split(`\n## ${heading}\n`);
  const rows = section
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const codes = (cell: string): string[] => [...cell.matchAll(/`([\w.]+)`/g)].map(([, code]) => code!);

function declarations(file: string): Map<string, Declaration> {
  return declarationsOf(readFileSync(join(ROOT, 'dist/src/client', file), 'utf8'));
}

const membersOf = (declaration: Declaration | undefined): string[] =>
  declaration!.members.map(({ signature }) => /^(?:readonly )?(\w+)/.exec(signature)![1]!);

test('each recipe is a file of examples/, word for word, and each file is a recipe', () => {
  const shown = fencesOf(DOCUMENT).filter(({ language }) => language === 'ts');
  const named = [...text.matchAll(/^\[examples\/([\w-]+\.ts)\]\(\.\.\/examples\/([\w-]+\.ts)\)$/gm)];
  expect(named.map(([, name, path]) => [name, path])).toEqual(named.map(([, name]) => [name, name]));
  const files = named.map(([, name]) => readFileSync(join(ROOT, 'examples', name!), 'utf8'));
  expect(shown.map(({ code }) => code)).toEqual(files);
  // Other languages have directories of their own, and a document of their own.
  const inExamples = readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.ts'));
  expect(named.map(([, name]) => name).sort()).toEqual(inExamples.sort());
});

test('the table of options has every option, and no other', () => {
  const options = declarations('options.d.ts');
  const names = [
    ...membersOf(options.get('KeyBalancerOptions')),
    // Of one call or function alone.
    ...membersOf(options.get('RetryOptions')).filter((name) => !['signal', 'affinityKey'].includes(name)),
    ...membersOf(declarations('credentials.d.ts').get('CredentialOptions')),
  ];
  expect(
    tableOf('Options')
      .flatMap(([cell]) => codes(cell!))
      .sort(),
  ).toEqual(names.sort());
});

test('the table of events has every event with all that it tells', () => {
  const all = declarations('events.d.ts');
  const told = Object.fromEntries(
    [...all.values()]
      .filter(({ name }) => name.endsWith('Event') && name !== 'ClientEvent')
      .map((event) => [
        /'(\w+)'/.exec(event.members.find(({ signature }) => signature.startsWith('type:'))!.signature)![1]!,
        membersOf(event)
          .filter((name) => name !== 'type')
          .sort(),
      ]),
  );
  const said = tableOf('Events').map(([type, , tells]) => [codes(type!)[0], codes(tells!).sort()]);
  expect(Object.fromEntries(said)).toEqual(told);
});

test('every name that goes to OpenTelemetry is there', () => {
  const code = readFileSync(join(ROOT, 'src/client/telemetry.ts'), 'utf8');
  const names = [...code.matchAll(/'((?:gen_ai|keybalancer|http|error)\.[\w.]+)'/g)].map(([, name]) => name!);
  expect(names.length).toBeGreaterThan(8);
  expect([...new Set(names)].filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  const metrics = [...code.matchAll(/meter\.create\w+\('([\w.]+)'/g)].map(([, name]) => name!);
  expect(
    tableOf('OpenTelemetry')
      .flatMap(([cell]) => codes(cell!))
      .sort(),
  ).toEqual(metrics.sort());
});

test('the table of error fields has those of KeyBalancerError', () => {
  const error = declarations('errors.d.ts').get('KeyBalancerError');
  const fields = membersOf(error).filter((name) => name !== 'name' && name !== 'constructor');
  expect(
    tableOf('Errors')
      .flatMap(([cell]) => codes(cell!))
      .sort(),
  ).toEqual(fields.sort());
});

test('the entry points are those of the package', () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: object };
  const named = text.split('\n').flatMap((line) => /^\| `(keybalancer[\w/]*)` /.exec(line)?.[1] ?? []);
  const paths = Object.keys(exports).filter((path) => path !== './package.json');
  expect(named.map((name) => name.replace('keybalancer', '.'))).toEqual(paths);
});
