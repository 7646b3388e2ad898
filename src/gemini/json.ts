/** A parsed JSON object; nothing is known of its members. */
export type JsonObject = { readonly [name: string]: unknown };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Parses JSON that may have been cut off, as an error body is at 16 KiB, or that something follows: what is whole is kept, a
 * string that was cut is kept as far as it goes. Undefined: no JSON. Takes linear time and never throws.
 */
export function parseJson(text: string): unknown {
  return tryParse(text) ?? tryParse(completed(text));
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The longest beginning of the text that can be made whole by closing what is open. */
function completed(text: string): string {
  const closers: string[] = [];
  // Up to here the text is a whole value but for its closers.
  let safe = 0;
  let afterColon = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"': {
        const end = stringEnd(text, at);
        // A name that was cut says nothing; a value does.
        const isValue = afterColon || closers.at(-1) === ']';
        if (end === -1) {
          return isValue ? `${withoutHalfEscape(text)}"${close(closers)}` : text.slice(0, safe) + close(closers);
        }
        if (isValue) safe = end + 1;
        at = end;
        afterColon = false;
        break;
      }
      case ':':
        afterColon = true;
        break;
      case '{':
      case '[':
        closers.push(text[at] === '{' ? '}' : ']');
        afterColon = false;
        safe = at + 1;
        break;
      case ',':
        afterColon = false;
        safe = at;
        break;
      case '}':
      case ']':
        closers.pop();
        afterColon = false;
        safe = at + 1;
        if (closers.length === 0) return text.slice(0, safe);
        break;
    }
  }
  return text.slice(0, safe) + close(closers);
}

function close(closers: readonly string[]): string {
  return closers.toReversed().join('');
}

/** Where the string that begins at `start` ends, or -1. */
export function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
  return -1;
}

/** Drops an escape sequence that was cut in the middle: `\`, `\u`, `\u00`. */
function withoutHalfEscape(text: string): string {
  const tail = /\\(?:u[0-9A-Fa-f]{0,3})?$/.exec(text.slice(-5));
  if (tail === null) return text;
  const start = text.length - tail[0].length;
  // A backslash that is itself escaped begins nothing.
  let backslashes = 0;
  while (text[start - 1 - backslashes] === '\\') backslashes++;
  return backslashes % 2 === 0 ? text.slice(0, start) : text;
}
