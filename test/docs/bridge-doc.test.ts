import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../repository/root.ts';

const text = readFileSync(join(ROOT, 'docs/bridge.md'), 'utf8');
const source = readFileSync(join(ROOT, 'src/cli/bridge/otlp-logs.ts'), 'utf8');

test('the document has every attribute and event name of the log records, and no other', () => {
  const said = new Set<string>();
  for (const [, names] of text.matchAll(/^\| (`(?:keybalancer|error|gen_ai)\.[^|]*) \|/gm)) {
    let before = '';
    for (const [, name] of names!.matchAll(/`([\w.]+)`/g)) {
      // ".cooling" is short for one that differs in its last part.
      const whole = name!.startsWith('.') ? before.replace(/\.\w+$/, name!) : name!;
      said.add(whole);
      before = whole;
    }
  }
  const kinds = ['key.added', 'key.changed', 'key.removed', 'pool.changed', 'pool.exhausted', 'pool.recovered'];
  const inCode = [...source.matchAll(/'((?:keybalancer|error|gen_ai)\.[\w.]+)'/g)].map(([, name]) => name!);
  // Of the resource and of the scope, which the text names.
  const elsewhere = ['keybalancer.server', 'keybalancer.bridge'];
  for (const name of elsewhere) expect(text).toContain(`\`${name}\``);
  const made = [...inCode.filter((name) => !elsewhere.includes(name)), ...kinds.map((kind) => `keybalancer.${kind}`)];
  expect([...said].sort()).toEqual([...new Set(made)].sort());
});
