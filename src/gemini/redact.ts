const MASK = '[redacted]';

/**
 * What looks like a secret, whoever it belongs to. `$1` is what stays: the words around tell what the failure was. No run is
 * longer than 65,536 characters, as a longer one would overflow the stack of the regular expression.
 */
const SECRETS: readonly RegExp[] = [
  // A header that could not be set: the runtime says its value.
  /(Headers\.(?:append|set): \\{0,8}")(?:[^"\\]|\\(?!")){1,65536}/g,
  /((?:[?&;]|\\u0026|%26|%3F)key(?:=|%3D|\\u003d))[^&\s"'\\<>#]{1,65536}/gi,
  /(x-goog-api-key\\{0,8}["']?[:=] ?\\{0,8}["']?)[^\s"'\\,}]{1,65536}/gi,
  /(api_key:)[^'"\s\\]{1,65536}/g,
  /(auth_tokens(?:\/|%2F))[\w-]{1,65536}/gi,
  // Standard and auth keys. Shorter than any real one, so that a key that was cut off is masked too.
  /()AIza[0-9A-Za-z_-]{8,65536}/g,
  /()AQ\.[0-9A-Za-z_.-]{10,65536}/g,
];

/**
 * The text with everything masked that is or looks like an API key: the given one wherever and however escaped it stands, both
 * forms of Gemini keys, `key=` in URLs, `api_key:` consumers, ephemeral tokens. Takes linear time; twice is the same as once.
 */
export function redact(text: string, apiKey?: string): string {
  let masked = text;
  // Before the patterns: they could mask a part of it and so hide the rest from the exact search.
  if (apiKey !== undefined) for (const form of formsOf(apiKey)) masked = masked.replaceAll(form, MASK);
  for (const secret of SECRETS) masked = masked.replace(secret, `$1${MASK}`);
  return masked;
}

/** How a key may be written in an error, the longest first, so that none leaves a piece of another. */
export function formsOf(apiKey: string): string[] {
  const plain = [apiKey, apiKey.trim()];
  const inUrl = plain.map(encoded).flatMap((key) => [key, key.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase())]);
  const inJson = plain.map(inJsonString);
  const inJsonInJson = inJson.map(inJsonString);
  const forms = new Set([...plain, ...inUrl, ...inJson, ...inJsonInJson]);
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
