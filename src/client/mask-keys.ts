import { formsOf, redact } from '../gemini/redact.ts';

/** Objects that are looked through of one error: more is no error, but what it was thrown about. */
const MOST_OBJECTS = 10_000;
/** Objects in a row that are more than data, such as a request and its socket: behind them are those of others, still to be sent. */
const MOST_MACHINERY = 2;
const DATA = [Error, Array, Map, Set, Headers, URL];

/**
 * Replaces the keys in every text of what is about to be thrown, at any depth: Gemini and fetch repeat keys in their messages, and
 * the SDK keeps what it parsed of an answer. Only texts that hold one are touched. Returns what to throw.
 */
export function maskKeys(thrown: unknown, apiKeys: readonly string[]): unknown {
  if (typeof thrown === 'string') return holdsAny(thrown, apiKeys) ? masked(thrown, apiKeys) : thrown;
  const found = new Map<object, number>();
  const find = (value: unknown, behind: number): void => {
    // Bytes are not shown as text, and there may be millions.
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || found.has(value)) return;
    const machinery = isData(value) ? behind : behind + 1;
    if (machinery <= MOST_MACHINERY && found.size < MOST_OBJECTS) found.set(value, machinery);
  };
  find(thrown, 0);
  // A map is walked to its end, what is added on the way included.
  for (const [object, machinery] of found) {
    try {
      for (const inner of maskIn(object, apiKeys)) find(inner, machinery);
    } catch {
      // A proxy that lets nobody look. What the caller threw is the caller's in any case.
    }
  }
  return thrown;
}

function isData(object: object): boolean {
  try {
    const prototype: unknown = Object.getPrototypeOf(object);
    return prototype === null || prototype === Object.prototype || DATA.some((type) => object instanceof type);
  } catch {
    // A proxy that does not tell.
    return false;
  }
}

/** Masks the texts of one object. Gives what else it holds. */
function maskIn(object: object, apiKeys: readonly string[]): unknown[] {
  const inside: unknown[] = [];
  const texts: [text: string, replaceBy: (text: string) => void][] = [];
  const look = (value: unknown, replaceBy: (text: string) => void): void => {
    if (typeof value === 'string') texts.push([value, replaceBy]);
    else inside.push(value);
  };
  // What these hold is no property of theirs.
  if (object instanceof Response || object instanceof Request) inside.push(object.headers);
  if (object instanceof URL) look(object.href, (text) => void Reflect.set(object, 'href', text));
  if (object instanceof Headers || object instanceof Map) {
    const entries = object as Map<unknown, unknown>;
    for (const [name, value] of [...entries]) look(value, (text) => entries.set(name, text));
  }
  if (object instanceof Set) {
    for (const value of [...object]) {
      look(value, (text) => {
        object.delete(value);
        object.add(text);
      });
    }
  }
  for (const name of Reflect.ownKeys(object)) {
    const property = Object.getOwnPropertyDescriptor(object, name);
    if (property === undefined) continue;
    // The stack is an accessor in some versions of V8; a getter of the caller's own is left alone.
    const value: unknown = name === 'stack' ? (object as Error).stack : property.value;
    look(value, (text) => replace(object, name, text));
  }
  for (const [text, replaceBy] of texts) if (holdsAny(text, apiKeys)) replaceBy(masked(text, apiKeys));
  return inside;
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
