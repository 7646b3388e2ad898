import { inspect } from 'node:util';

/** More of it than any value of this package leads to: what leads further leads out of it. */
const MOST_OBJECTS = 200_000;
const TO_PROTOTYPES: readonly (string | symbol)[] = ['constructor', 'prototype', '__proto__'];

/**
 * Every text that whoever holds a value can come to without calling a method of it, as one: own properties and their names, with symbols
 * and what is hidden; getters, also those that it inherits; entries of maps, sets and headers; bytes; and what `inspect` and
 * `JSON.stringify` make of it. What closures and private fields hold is out of reach. `except`: getters of the value itself that are there
 * to tell a secret.
 */
export function everythingReachable(value: unknown, { except = [] as readonly string[] } = {}): string {
  const texts = [shown(value)];
  const found = new Set<unknown>([value]);
  const take = (inner: unknown): void => {
    if (typeof inner === 'string') texts.push(inner);
    else if (isObject(inner) && found.size < MOST_OBJECTS) found.add(inner);
  };
  take(value);
  for (const each of found) {
    if (!isObject(each)) continue;
    if (ArrayBuffer.isView(each)) {
      texts.push(Buffer.from(each.buffer, each.byteOffset, each.byteLength).toString('latin1'));
      continue;
    }
    for (const inner of insideOf(each, each === value ? except : [])) take(inner);
  }
  return texts.join('\n');
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

function insideOf(object: object, except: readonly string[]): unknown[] {
  const inside: unknown[] = [];
  if (object instanceof Map || object instanceof Set || object instanceof Headers) inside.push(...[...object].flat());
  for (let holder: object | null = object; holder !== null; holder = Object.getPrototypeOf(holder) as object | null) {
    for (const name of Reflect.ownKeys(holder)) {
      // Of prototypes nothing is asked but for an object of theirs: a getter may keep what it makes.
      if (TO_PROTOTYPES.includes(name) || except.includes(String(name))) continue;
      inside.push(typeof name === 'symbol' ? name.description : name);
      const property = Object.getOwnPropertyDescriptor(holder, name);
      inside.push(property !== undefined && 'value' in property ? property.value : read(property?.get, object));
    }
  }
  return inside;
}

function read(get: (() => unknown) | undefined, object: object): unknown {
  try {
    return get?.call(object);
  } catch {
    // It is no getter of such an object, or tells nothing.
    return undefined;
  }
}

function shown(value: unknown): string {
  let json = '';
  try {
    json = JSON.stringify(value) ?? '';
  } catch {
    // What refers to itself has no JSON.
  }
  const whole = { depth: Infinity, maxArrayLength: null, maxStringLength: null } as const;
  // Not both at once: hidden are prototypes, too, which are asked nothing.
  return [inspect(value, { ...whole, showHidden: true }), inspect(value, { ...whole, getters: true }), json].join('\n');
}
