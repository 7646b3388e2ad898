import { tokenUsage, type Usage } from '../token-usage.ts';

/** Usage follows the candidates, and stands in the last event of a stream. */
const KEPT = 16 * 1024;

/** The last bytes of an answer, whatever its length. */
export class AnswerTail {
  #last = Buffer.alloc(0);
  #parts: Buffer[] = [];
  #length = 0;

  take(bytes: Buffer): void {
    const part = bytes.length > KEPT ? bytes.subarray(-KEPT) : bytes;
    this.#parts.push(part.length === bytes.length ? part : Buffer.from(part));
    this.#length += part.length;
    // Joined now and then, not for each of many small parts.
    if (this.#length > 4 * KEPT) this.#join();
  }

  usage(): Usage | undefined {
    this.#join();
    return usageIn(this.#last.toString('utf8'));
  }

  #join(): void {
    this.#last = Buffer.concat([this.#last, ...this.#parts]);
    if (this.#last.length > KEPT) this.#last = Buffer.from(this.#last.subarray(-KEPT));
    this.#parts = [];
    this.#length = 0;
  }
}

/** The last usage that a text tells of, generateContent's or that of an interaction. */
export function usageIn(text: string): Usage | undefined {
  const generated = objectAfter(text, '"usageMetadata"');
  if (generated !== undefined) return tokenUsage({ usageMetadata: generated });
  const interaction = objectAfter(text, '"usage"') as Record<string, unknown> | undefined;
  if (interaction === undefined) return undefined;
  return tokenUsage({
    usageMetadata: {
      promptTokenCount: interaction.total_input_tokens,
      candidatesTokenCount: interaction.total_output_tokens,
      thoughtsTokenCount: interaction.total_thought_tokens,
      cachedContentTokenCount: interaction.total_cached_tokens,
    },
  });
}

/** The object that is the value of the last such property. */
function objectAfter(text: string, property: string): unknown {
  const at = text.lastIndexOf(property);
  if (at === -1) return undefined;
  const start = text.indexOf('{', at + property.length);
  if (start === -1 || text.slice(at + property.length, start).trim() !== ':') return undefined;
  let depth = 0;
  let inString = false;
  for (let end = start; end < text.length; end++) {
    const character = text[end];
    if (inString) {
      if (character === '\\') end++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === '{' || character === '[') depth++;
    else if ((character === '}' || character === ']') && --depth === 0) return parsed(text.slice(start, end + 1));
  }
  return undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
