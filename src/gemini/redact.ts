const MASK = '[redacted]';

/**
 * What looks like a secret, whoever it belongs to. `$1` is what stays: the words around tell what the failure was. No run is
 * longer than 65,536 characters, as a longer one would overflow the stack of the regular expression.
 */
const SECRETS: readonly RegExp[] = [
  // A header that could not be set: the runtime says its value.
  /(Headers\.(?:append|set): \\{0,8}")(?:[^"\\]|\\(?!")){1,65536}/g,
  /((?:[?&;]|\\u0026|%26|%3F)(?:key|access_token)(?:=|%3D|\\u003d))[^&\s"'\\<>#]{1,65536}/gi,
  /(x-goog-api-key\\{0,8}["']?\s?[:=,]\s?\\{0,8}["']?)[^\s"'\\,}]{1,65536}/gi,
  /(api_key:)[^'"\s\\]{1,65536}/gi,
  /(api[_-]?key\\{0,8}["']?\s?[:=]\s?\\{0,8}["']?)[\w.~+/=-]{8,65536}/gi,
  /(auth_tokens(?:\/|\\\/|%2F))[\w-]{1,65536}/gi,
  // Longer than the words that may follow in a sentence.
  /(\bBearer\s)[\w.~+/=-]{16,65536}/gi,
  /()\bya29\.[\w-]{8,65536}/g,
  // Standard and auth keys. Shorter than any real one, so that a key that was cut off is masked too.
  /()AIza[0-9A-Za-z_-]{8,65536}/g,
  /()AQ\.[0-9A-Za-z_.-]{10,65536}/g,
  // What is left of a key that the end of the text cut off.
  /()(?:AIza[0-9A-Za-z_-]{0,8}|\bAQ\.[0-9A-Za-z_-][0-9A-Za-z_.-]{0,9})$/g,
];

/** A part of every pattern above: without one there is nothing to mask, which is so of most texts, and all names of models. */
const MAY_HOLD_SECRET = /key|token|AIza|AQ\.|ya29\.|Bearer|Headers\./i;

/**
 * The text with everything masked that is or looks like an API key: the given one wherever and however escaped it stands, both
 * forms of Gemini keys, `key=` in URLs, `api_key:` consumers, headers, ephemeral tokens. Takes linear time; twice is the same as
 * once. Not looked for is the given key in base64 or in another case: nothing that sends a Gemini key writes it so.
 */
export function redact(text: string, apiKey?: string): string {
  let masked = text;
  // Before the patterns: they could mask a part of it and so hide the rest from the exact search.
  if (apiKey !== undefined) for (const form of formsOf(apiKey)) masked = masked.replaceAll(form, MASK);
  if (apiKey !== undefined) masked = withoutCutKey(masked, apiKey);
  if (!MAY_HOLD_SECRET.test(masked)) return masked;
  for (const secret of SECRETS) masked = masked.replace(secret, `$1${MASK}`);
  return masked;
}

/** Shorter beginnings of a key say nothing of it, and end texts that have nothing to do with it. */
const SHORTEST_CUT_KEY = 6;

/** Masks the beginning of the key at the end of a text that was cut there. */
function withoutCutKey(text: string, apiKey: string): string {
  for (let length = Math.min(apiKey.length - 1, text.length); length >= SHORTEST_CUT_KEY; length--) {
    if (text.endsWith(apiKey.slice(0, length))) return `${text.slice(0, -length)}${MASK}`;
  }
  return text;
}

/** JSON within a string of JSON, and so on: what a proxy quotes of Gemini's body, within what the SDK makes of that. */
const DEEPEST_JSON = 4;

/** How a key may be written in an error, the longest first, so that none leaves a piece of another. */
export function formsOf(apiKey: string): string[] {
  const plain = [apiKey, apiKey.trim()];
  const inUrl = plain.map(encoded).flatMap((key) => [key, key.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase())]);
  const forms = new Set([...plain, ...inUrl]);
  for (let depth = 0, texts = plain; depth < DEEPEST_JSON; depth++) {
    texts = [...new Set(texts.map(inJsonString).flatMap((key) => [key, key.replaceAll('/', '\\/')]))];
    for (const text of texts) forms.add(text);
  }
  forms.delete('');
  return [...forms].sort((a, b) => b.length - a.length);
}

function inJsonString(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function encoded(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    // Half a surrogate pair: nothing can send it in a URL.
    return text;
  }
}
