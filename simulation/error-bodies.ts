import { fill, recordedError } from '../test/fake-gemini/errors.ts';
import type { Violation } from '../test/fake-gemini/limits.ts';
import { quotaError } from '../test/fake-gemini/quota-error.ts';
import { MINUTE_MS, modelName, projectNumber } from './world.ts';

/** Bodies as Gemini sent them, from the collection that the fake Gemini answers with. */
export const OVERLOADED_BODY = JSON.stringify(recordedError('overloaded_503_old').body);
export const INTERNAL_BODY = JSON.stringify(recordedError('internal_500').body);
export const KEY_INVALID_BODY = JSON.stringify(recordedError('key_invalid_json').body);

/** The suspension of a whole project: it names the project where one of a key names the key. */
export function suspendedBody(project: number): string {
  const number = projectNumber(project);
  const { body } = fill(recordedError('consumer_suspended_2026'), { project: number });
  return JSON.stringify(body)
    .replaceAll(/'api_key:[^']+'/g, `'project_number:${number}'`)
    .replaceAll(/"api_key:[^"]+"/g, `"${number}"`);
}

/** A broken limit's 429. As on the free tier, a spent day states a short delay: the rest of the minute. */
export function quotaBody(model: number, now: number, violations: readonly Violation[]): string {
  return JSON.stringify(quotaError(violations, modelName(model), Math.ceil(MINUTE_MS - (now % MINUTE_MS))).body);
}
