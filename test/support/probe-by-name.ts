import type { Probe } from '../../src/store/probe.ts';

export const INVALID_BODY = JSON.stringify({
  error: {
    code: 400,
    message: 'API key not valid. Please pass a valid API key.',
    status: 'INVALID_ARGUMENT',
    details: [
      { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID', domain: 'googleapis.com' },
    ],
  },
});

/** Gemini as the API key itself says that it is: it refuses "dead" keys, says nothing of "unreached" ones, and takes all others. */
export const probeByName: Probe = async ({ apiKey }) => {
  if (apiKey.includes('unreached')) throw new TypeError('fetch failed');
  return { latencyMs: 1, error: apiKey.includes('dead') ? { httpStatus: 400, body: INVALID_BODY } : undefined };
};
