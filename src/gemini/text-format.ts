import type { JsonObject } from './json.ts';

/** `name {`, `name: "text"`, `name: 12`, or a closing brace. */
const TOKEN = /(\w{1,60}) ?\{|(\w{1,60}): (?:"((?:[^"\\\n]|\\[^\n]){0,2000})"|(-?\d{1,20}))|\}/g;
/** Deeper than any detail of an error. */
const DEEPEST = 8;

interface Message {
  [name: string]: unknown;
}

/**
 * The details of an error as Protocol Buffers' text format has them, which Python's older client puts behind a message:
 * `[violations { quota_id: "..." quota_value: 20 } , retry_delay { seconds: 36 } ]`. All in one object, in the shape that JSON
 * would give them. What is no such text is skipped. Takes linear time.
 */
export function detailsOfTextFormat(text: string): JsonObject {
  const root: Message = Object.create(null);
  const open: Message[] = [root];
  for (const [token, opened, name, quoted, number] of text.matchAll(TOKEN)) {
    const current = open.at(-1)!;
    if (opened !== undefined) {
      const child: Message = Object.create(null);
      if (open.length < DEEPEST) {
        const siblings = current[opened];
        if (Array.isArray(siblings)) siblings.push(child);
        else current[opened] = [child];
      }
      open.push(child);
    } else if (name !== undefined) {
      current[name] = quoted ?? number;
    } else if (token === '}' && open.length > 1) {
      open.pop();
    }
  }
  return {
    reason: root.reason,
    metadata: mapOf(root.metadata),
    violations: list(root.violations).map((violation) => ({
      ...violation,
      quota_dimensions: violation.quota_dimensions === undefined ? undefined : mapOf(violation.quota_dimensions),
    })),
    retry_delay: list(root.retry_delay)[0],
  };
}

/** A map is written as messages with a key and a value. */
function mapOf(entries: unknown): JsonObject {
  return Object.fromEntries(list(entries).map(({ key, value }) => [String(key), value]));
}

function list(value: unknown): readonly Message[] {
  return Array.isArray(value) ? value : [];
}
