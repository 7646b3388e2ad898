import { KeyBalancerError } from '../errors.ts';

/**
 * What a request ends with that may have made something, such as a batch, when its answer began well and broke off. `method` as in
 * events; `cause`: how it broke off.
 */
export function answerLost(method: string, cause: unknown): KeyBalancerError {
  return new KeyBalancerError(
    `Gemini took ${method}, and its answer broke off: what was asked for may be done. It was not tried again, since that might do it twice; look before you repeat it`,
    { code: 'UNKNOWN', reason: 'ANSWER_LOST', metadata: { method }, cause },
  );
}
