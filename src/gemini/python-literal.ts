const WORD = /(?:True|False|None)(?!\w)/y;
const WORDS: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null' };

/**
 * How Python prints an error body, `{'error': {'code': 429, ...}}`, as JSON. What Python would not print so stays as it is. Takes
 * linear time.
 */
export function pythonAsJson(text: string): string {
  let json = '';
  for (let at = 0; at < text.length; ) {
    const char = text[at]!;
    if (char === "'" || char === '"') {
      const end = stringEnd(text, at);
      json += asJsonString(text.slice(at + 1, end));
      // A string that the end of the text cuts off stays open.
      if (end < text.length) json += '"';
      at = end + 1;
      continue;
    }
    WORD.lastIndex = at;
    const word = char === 'T' || char === 'F' || char === 'N' ? WORD.exec(text)?.[0] : undefined;
    json += word === undefined ? char : WORDS[word];
    at += word?.length ?? 1;
  }
  return json;
}

/** Where the string that begins at `start` ends, or the end of the text. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === text[start]) return at;
  }
  return text.length;
}

/** The content of a Python string, with the opening quotation mark of a JSON string. */
function asJsonString(content: string): string {
  const escaped = content.replace(/\\x([0-9A-Fa-f]{2})|\\'|\\[\s\S]|"/g, (found, hex: string | undefined) => {
    if (hex !== undefined) return `\\u00${hex}`;
    if (found === "\\'") return "'";
    return found === '"' ? '\\"' : found;
  });
  return `"${escaped}`;
}
