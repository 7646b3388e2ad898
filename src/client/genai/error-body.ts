import { performance } from 'node:perf_hooks';
import { redact } from '../../gemini/redact.ts';
import { maskKeys } from '../mask-keys.ts';
import { within } from '../within.ts';
import { responseLike } from './answer.ts';

/** An error is small; a body that does not end must not keep a lease. */
const LONGEST_MS = 1_000;
const MOST_BYTES = 256 * 1024;

/** The body of an error, masked, and a response that has it and whose headers are masked, too. What is longer than any error is cut. */
export async function errorBody(response: Response, apiKey: string): Promise<{ text: string; ending: Response }> {
  if (response.body === null || !(response instanceof Response)) return { text: '', ending: response };
  const reader = response.body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  const end = performance.now() + LONGEST_MS;
  while (length < MOST_BYTES) {
    const left = end - performance.now();
    const part =
      left > 0
        ? await within(
            left,
            reader.read().catch(() => undefined),
          )
        : undefined;
    if (part === undefined || part.done) break;
    parts.push(part.value);
    length += part.value.length;
  }
  void reader.cancel().catch(() => undefined);
  const text = redact(Buffer.concat(parts).toString('utf8'), apiKey);
  const ending = responseLike(response, Buffer.from(text));
  maskKeys(ending, [apiKey]);
  return { text, ending };
}
