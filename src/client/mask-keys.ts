import { formsOf, redact } from '../gemini/redact.ts';

/** Errors around errors that are looked through. */
const DEEPEST = 4;

/**
 * Replaces the keys in every text of what is about to be thrown, its causes included: Gemini and fetch repeat keys in
 * their messages. Only texts that hold one are touched. Returns what to throw.
 */
export function maskKeys(thrown: unknown, apiKeys: readonly string[]): unknown {
  if (typeof thrown === 'string') return holdsAny(thrown, apiKeys) ? masked(thrown, apiKeys) : thrown;
  try {
    maskInside(thrown, apiKeys, DEEPEST, new Set());
  } catch {
    // A proxy that lets nobody look. What the caller threw is the caller's in any case.
  }
  return thrown;
}

function maskInside(value: unknown, apiKeys: readonly string[], depth: number, seen: Set<unknown>): void {
  if (typeof value !== 'object' || value === null || depth === 0 || seen.has(value)) return;
  // Bytes are not shown as text, and there may be millions.
  if (ArrayBuffer.isView(value)) return;
  seen.add(value);
  if (value instanceof Headers || value instanceof Map)
    maskEntries(value as Map<unknown, unknown>, apiKeys, depth, seen);
  else if (value instanceof URL && holdsAny(value.href, apiKeys)) value.href = masked(value.href, apiKeys);
  for (const name of Reflect.ownKeys(value)) {
    const property = Object.getOwnPropertyDescriptor(value, name);
    if (property === undefined) continue;
    // The stack is an accessor in some versions of V8; a getter of the caller's own is left alone.
    const inner: unknown = name === 'stack' ? (value as Error).stack : property.value;
    if (typeof inner !== 'string') maskInside(inner, apiKeys, depth - 1, seen);
    else if (holdsAny(inner, apiKeys)) replace(value, name, masked(inner, apiKeys));
  }
}

/** What Headers and maps hold is no property of theirs. */
function maskEntries(
  entries: Map<unknown, unknown>,
  apiKeys: readonly string[],
  depth: number,
  seen: Set<unknown>,
): void {
  for (const [name, inner] of [...entries]) {
    if (typeof inner !== 'string') maskInside(inner, apiKeys, depth - 1, seen);
    else if (holdsAny(inner, apiKeys)) entries.set(name, masked(inner, apiKeys));
  }
}

function replace(object: object, name: string | symbol, value: string): void {
  const property = Object.getOwnPropertyDescriptor(object, name);
  if (property?.configurable) {
    const { enumerable = false } = property;
    Object.defineProperty(object, name, { value, enumerable, configurable: true, writable: true });
  } else {
    Reflect.set(object, name, value);
  }
}

function holdsAny(text: string, apiKeys: readonly string[]): boolean {
  return apiKeys.some((apiKey) => formsOf(apiKey).some((form) => text.includes(form)));
}

function masked(text: string, apiKeys: readonly string[]): string {
  return apiKeys.reduce((result, apiKey) => redact(result, apiKey), text);
}
