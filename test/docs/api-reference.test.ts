import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { apiReference, REFERENCE } from '../../scripts/api-reference.ts';
import { declarationsOf, exportsOf } from '../../scripts/declarations.ts';
import * as client from '../../src/client/index.ts';

const reference = readFileSync(REFERENCE, 'utf8');

test('docs/api.md is what npm run api-reference would write', () => {
  expect(reference).toBe(apiReference());
});

test('docs/api.md has each function and class of keybalancer/client', () => {
  const titles = [...reference.matchAll(/^### (\w+)$/gm)].map(([, name]) => name!);
  const named = [...reference.matchAll(/^Also named (.*)\.$/gm)].flatMap(([, names]) => names!.match(/\w+/g)!);
  expect([...titles, ...named]).toEqual(expect.arrayContaining(Object.keys(client)));
});

test('declarations are read with their comments, bases and members, however many lines those take', () => {
  const found = declarationsOf(`import { x } from './x.ts';
/** A
 * thing. */
export interface A extends Omit<B, 'b'>, C {
    /** One. */
    one?: string;
    two(given: {
        deep: number;
    }[]): void;
}
interface B {
    b: string;
}
/** Told. */
export declare function f<T>(a: {
    b: T;
}): void;
export type T = 'x' | {
    y: string;
};
export {};
`);
  expect([...found.keys()]).toEqual(['A', 'B', 'f', 'T']);
  expect(found.get('A')).toEqual({
    name: 'A',
    kind: 'interface',
    signature: "interface A extends Omit<B, 'b'>, C",
    comment: 'A\nthing.',
    bases: ['B', 'C'],
    members: [
      { signature: 'one?: string', comment: 'One.' },
      { signature: 'two(given: { deep: number; }[]): void', comment: '' },
    ],
  });
  expect(found.get('f')).toMatchObject({ signature: 'f<T>(a: { b: T; }): void', comment: 'Told.' });
  expect(found.get('T')).toMatchObject({ signature: "type T = 'x' | { y: string; }", comment: '' });
});

test('exports are found by the names that they have outside', () => {
  const found = exportsOf("export type { A } from './a.ts';\nexport { b, b as c, type D } from './b.ts';\n");
  expect(Object.fromEntries(found)).toEqual({
    A: { name: 'A', file: './a.ts' },
    b: { name: 'b', file: './b.ts' },
    c: { name: 'b', file: './b.ts' },
    D: { name: 'D', file: './b.ts' },
  });
});
