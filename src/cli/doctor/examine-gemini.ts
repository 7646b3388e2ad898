import { type Finding, ok, warning } from './finding.ts';

const PATIENCE_MS = 5_000;

/** Whether this machine gets to Gemini; no key is sent, so Gemini's refusal is the right answer. */
export async function examineGemini(baseUrl: string, signal: AbortSignal): Promise<Finding> {
  const { host } = new URL(baseUrl);
  try {
    const response = await fetch(`${baseUrl.replace(/\/+$/, '')}/v1/models?pageSize=1`, {
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
    });
    await response.body?.cancel();
    return ok('Gemini', `${host} answers this machine (status ${response.status}, no key was sent)`);
  } catch (error) {
    signal.throwIfAborted();
    const { cause, message } = error as Error & { cause?: { code?: string } };
    return warning(
      'Gemini',
      `${host} does not answer this machine: ${cause?.code ?? message}`,
      'where the server has no way to Gemini, --verify off lets reports decide about keys; callers need one anyway',
    );
  }
}
