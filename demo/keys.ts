import { randomBytes } from 'node:crypto';

/** How Gemini will take to a key. */
export type Role = 'healthy' | 'dead' | 'expired' | 'leaked' | 'suspended' | 'minute' | 'tokens' | 'day';

/** A key of the demo. It is spoken of by its number; `apiKey` goes nowhere but the key file and the fake Gemini. */
export interface DemoKey {
  /** 1 to 40; its last four characters too, by which the server's redacted form tells it. */
  number: number;
  apiKey: string;
  weight: number;
  /** "": a project of its own. */
  project: string;
  role: Role;
}

/** Projects whose quota is small. The limit is the project's, so all of its keys rest together. */
export const LIMITED = { minute: 'maps', tokens: 'photos', day: 'lab' } as const;
export const PROJECTS = ['', 'web-shop', 'newsroom', LIMITED.minute, LIMITED.tokens, LIMITED.day] as const;

interface Kind {
  count: number;
  weight: number;
  project: string;
  role: Role;
}

/** 40 keys, 24 of them healthy. */
const KINDS: readonly Kind[] = [
  { count: 2, weight: 2, project: '', role: 'healthy' },
  { count: 7, weight: 1, project: '', role: 'healthy' },
  { count: 3, weight: 0.5, project: '', role: 'healthy' },
  { count: 1, weight: 2, project: 'web-shop', role: 'healthy' },
  { count: 4, weight: 1, project: 'web-shop', role: 'healthy' },
  { count: 2, weight: 0.5, project: 'web-shop', role: 'healthy' },
  { count: 1, weight: 2, project: 'newsroom', role: 'healthy' },
  { count: 3, weight: 1, project: 'newsroom', role: 'healthy' },
  { count: 1, weight: 0.5, project: 'newsroom', role: 'healthy' },
  { count: 3, weight: 1, project: '', role: 'dead' },
  { count: 1, weight: 2, project: '', role: 'expired' },
  { count: 1, weight: 1, project: '', role: 'leaked' },
  { count: 1, weight: 0.5, project: '', role: 'suspended' },
  { count: 1, weight: 2, project: LIMITED.minute, role: 'minute' },
  { count: 3, weight: 1, project: LIMITED.minute, role: 'minute' },
  { count: 3, weight: 1, project: LIMITED.tokens, role: 'tokens' },
  { count: 3, weight: 1, project: LIMITED.day, role: 'day' },
];

/** Its multiples spread evenly, so that no two kinds begin at the same place. */
const GOLDEN = 0.618;

/** The keys in the order of the file: kinds are mixed, as they would be in a file that grew by and by. */
export function demoKeys(): DemoKey[] {
  const placed = KINDS.flatMap(({ count, ...kind }, nth) => {
    const start = (nth * GOLDEN) % 1;
    return Array.from({ length: count }, (_, at) => ({ kind, place: (at + start) / count }));
  });
  return placed
    .sort((a, b) => a.place - b.place)
    .map(({ kind }, index) => ({ ...kind, number: index + 1, apiKey: newKey(index + 1) }));
}

/** The text of a key file: KEY, or KEY:WEIGHT. */
export function keyFile(keys: readonly DemoKey[]): string {
  const lines = keys.map(({ apiKey, weight }) => (weight === 1 ? apiKey : `${apiKey}:${weight}`));
  return `${['# Keys of the KeyBalancer demo: KEY or KEY:WEIGHT, one a line', ...lines].join('\n')}\n`;
}

/** Which key the server's redacted form is of; undefined: none of the demo's. */
export function numberOfRedacted(redactedKey: string): number | undefined {
  const digits = /(\d{4})$/.exec(redactedKey)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function newKey(number: number): string {
  return `AQ.demo-${randomBytes(12).toString('hex')}-${String(number).padStart(4, '0')}`;
}
