/** What a line of a key file says: a key, nothing (blank, or a comment), or why it is no key. Reasons never show the line. */
export type KeyLine = { apiKey: string; weight: number | undefined } | { problem: string } | undefined;

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?(infinity|inf|nan)$/i;

/**
 * KEY, or KEY:WEIGHT. Only a number after the last colon is a weight, since a key may hold colons itself. Whether the
 * key and the weight will do is the balancer's to say.
 */
export function readKeyLine(line: string): KeyLine {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  const colon = text.lastIndexOf(':');
  if (colon === -1) return { apiKey: text, weight: undefined };
  const apiKey = text.slice(0, colon).trim();
  const suffix = text.slice(colon + 1).trim();
  if (apiKey === '') return { problem: 'there is no key before the colon' };
  if (suffix === '') return { problem: 'there is no weight after the colon' };
  if (!NUMBER.test(suffix)) return { apiKey: text, weight: undefined };
  return { apiKey, weight: numberOf(suffix) };
}

/** "inf" is how some languages write what JavaScript calls Infinity. */
function numberOf(text: string): number {
  if (!/^[+-]?(inf|nan)/i.test(text)) return Number(text);
  return /nan/i.test(text) ? Number.NaN : text.startsWith('-') ? -Infinity : Infinity;
}
