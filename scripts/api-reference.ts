/** Writes docs/api.md: what keybalancer/client exports, from the comments in the declarations under dist/. */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Declaration, declarationsOf, exportsOf } from './declarations.ts';

const ROOT = resolve(import.meta.dirname, '..');
const ENTRY = join(ROOT, 'dist/src/client/index.d.ts');
export const REFERENCE = join(ROOT, 'docs/api.md');

const KINDS = [
  { kind: 'function', title: 'Functions' },
  { kind: 'class', title: 'Classes' },
  { kind: 'interface', title: 'Interfaces' },
  { kind: 'type', title: 'Types' },
] as const;

const HEAD = `# API reference of \`keybalancer/client\`

Made by \`npm run api-reference\` from the comments in \`src/client\`; not to be edited. [client.md](client.md) shows how to use it. \`keybalancer\`
exports the same without \`connect\` and what belongs to it. Times are in milliseconds. The messages of the service, such as
\`GetStatsResponse\`, are those of [the proto file](../proto/keybalancer/v1/keybalancer.proto), exported by \`keybalancer/gen\`.
`;

/** The text of the reference. */
export function apiReference(): string {
  const declared = new Map<string, Declaration>();
  const others = new Map<string, string[]>();
  // Not exported themselves, but their members are those of what extends them.
  const hidden = new Map<string, Declaration>();
  for (const [outside, { name, file }] of exportsOf(readFileSync(ENTRY, 'utf8'))) {
    const all = declarationsOf(readFileSync(join(dirname(ENTRY), file.replace(/\.(?:ts|js)$/, '.d.ts')), 'utf8'));
    const declaration = all.get(name);
    if (declaration === undefined) throw new Error(`${file} declares no ${name}`);
    for (const base of declaration.bases) if (all.has(base)) hidden.set(base, all.get(base)!);
    if (outside === name) declared.set(name, declaration);
    else others.set(name, [...(others.get(name) ?? []), outside]);
  }
  const sections = KINDS.map(({ kind, title }) => {
    const members = [...declared.values()]
      .filter((each) => each.kind === kind)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((each) => entry(each, others.get(each.name) ?? [], declared, hidden));
    return `## ${title}\n\n${members.join('\n')}`;
  });
  return `${HEAD}\n${sections.join('\n')}`;
}

function entry(
  { name, kind, signature, comment, bases, members }: Declaration,
  alsoNamed: readonly string[],
  declared: ReadonlyMap<string, Declaration>,
  hidden: ReadonlyMap<string, Declaration>,
): string {
  const parts = [`### ${name}`];
  if (kind === 'function' || kind === 'type') parts.push(code(signature));
  if (comment !== '') parts.push(prose(comment));
  if (alsoNamed.length > 0) parts.push(`Also named ${alsoNamed.map(code).join(', ')}.`);
  const linked = bases.filter((base) => declared.has(base));
  if (linked.length > 0) {
    const links = linked.map((base) => `[${base}](#${base.toLowerCase()})`);
    parts.push(`${code(signature.replace(/^\w+ /, ''))}: with what is in ${links.join(' and ')}.`);
  }
  if (bases.includes('AsyncDisposable')) parts.push('For `await using`.');
  const all = [...bases.flatMap((base) => (declared.has(base) ? [] : (hidden.get(base)?.members ?? []))), ...members];
  if (all.length > 0) parts.push(all.map(member).join('\n'));
  return `${parts.join('\n\n')}\n`;
}

function member({ signature, comment }: Declaration['members'][number]): string {
  return comment === '' ? `- ${code(signature)}` : `- ${code(signature)}: ${prose(comment).replaceAll('\n', ' ')}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

/** Angle brackets outside of code would be markup. */
function prose(text: string): string {
  return text.replaceAll('<', '&lt;');
}

if (import.meta.main) writeFileSync(REFERENCE, apiReference());
