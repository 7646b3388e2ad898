import { setTimeout as sleep } from 'node:timers/promises';
import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();
const gemini = process.env.GOOGLE_GEMINI_BASE_URL ?? 'https://generativelanguage.googleapis.com';
const model = 'gemini-2.5-flash';

async function ask(apiKey: string, text: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`${gemini}/v1beta/models/${model}:generateContent`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-goog-api-key': apiKey },
    body: JSON.stringify({ contents: [{ parts: [{ text }] }] }),
  });
  return { status: response.status, body: await response.text() };
}

const excludeKeyIds: string[] = [];
for (let tries = 0; tries < 4; tries++) {
  await using key = await balancer.lease({ model, maxWait: 5000, excludeKeyIds });
  // Where no whole answer came, such as by a broken connection, that is to be told, too: the key was read.
  const answer = await ask(key.apiKey, 'Why is the sky blue?').catch((error: unknown) => ({ error }));
  if ('body' in answer && answer.status === 200) {
    const { candidates, usageMetadata } = JSON.parse(answer.body);
    await key.succeeded({
      inputTokens: usageMetadata.promptTokenCount,
      outputTokens: usageMetadata.candidatesTokenCount,
    });
    console.log(candidates[0].content.parts[0].text);
    break;
  }
  const { errorClass, retry, delayMs } = await key.failed('error' in answer ? answer.error : answer);
  console.warn(`${key.keyId}: ${errorClass}`);
  if (!retry) break;
  excludeKeyIds.push(key.keyId);
  await sleep(delayMs);
}
