import type { Answer } from './answer.ts';
import type { Call } from './call.ts';
import { type ErrorTemplate, fill, recordedError, withMessage } from './errors.ts';

// What the fake refuses by itself, in Gemini's words.

export function refusal(error: ErrorTemplate): Answer {
  return { kind: 'error', error };
}

export function badRequest(message: string): Answer {
  return refusal(withMessage('key_invalid_json', message));
}

export function malformedJson(): Answer {
  return badRequest('Invalid JSON payload received. Unexpected token.');
}

export function tooLarge(maxBytes: number): Answer {
  const name = 'payload_too_large_400';
  const { error } = recordedError(name).body as { error: { message: string } };
  return refusal(withMessage(name, error.message.replace(/\d+/, String(maxBytes))));
}

export function notFound(): Answer {
  return refusal(recordedError('entity_not_found'));
}

export function modelNotFound({ model, version, method }: Call): Answer {
  const name = 'model_not_found';
  const { error } = recordedError(name).body as { error: { message: string } };
  const message = error.message
    .replace('gemini-1.5-flash', () => model ?? '')
    .replace('v1beta', version)
    .replace('generateContent', method.replace('models.', ''));
  return refusal(withMessage(name, message));
}

/** Gemini's one answer for a file that is another project's and for one that is not there. */
export function fileRefused(fileId: string): Answer {
  return refusal(fill(recordedError('file_other_key_403'), { fileId }));
}

/** What a behaviour that is a function threw, so that a test sees it. */
export function behaviourFailed(error: unknown): Answer {
  return refusal({
    status: 500,
    body: {
      error: { code: 500, message: `The fake's behaviour function failed: ${String(error)}`, status: 'INTERNAL' },
    },
    wire: 'json',
    reach: 'everything',
  });
}

/** As for files. */
export function cacheRefused(): Answer {
  return refusal(withMessage('file_other_key_403', 'CachedContent not found (or permission denied)'));
}

export function tunedModelRefused(name: string): Answer {
  const message = `You do not have permission to access tuned model ${name} or it may not exist.`;
  return refusal(withMessage('file_other_key_403', message));
}
