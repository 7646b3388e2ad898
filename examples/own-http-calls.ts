import { setTimeout as sleep } from 'node:timers/promises';
import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();
const gemini = process.env.GOOGLE_GEMINI_BASE_URL ?? 'https://generativelanguage.googleapis.com';
const model = 'gemini-2.5-flash';

const excludeKeyIds: string[] = [];
for (let tries = 0; tries < 4; tries++) {
  await using key = await balancer.lease({ model, maxWait: 5000, excludeKeyIds });
  const response = await fetch(`${gemini}/v1beta/models/${model}:generateContent`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-goog-api-key': key.apiKey },
    body: JSON.stringify({ contents: [{ parts: [{ text: 'Why is the sky blue?' }] }] }),
  });
  const body = await response.text();
  if (response.ok) {
    const { candidates, usageMetadata } = JSON.parse(body);
    await key.succeeded({
      inputTokens: usageMetadata.promptTokenCount,
      outputTokens: usageMetadata.candidatesTokenCount,
    });
    console.log(candidates[0].content.parts[0].text);
    break;
  }
  const { errorClass, retry, delayMs } = await key.failed({ status: response.status, body });
  console.warn(`${key.keyId}: ${errorClass}`);
  if (!retry) break;
  excludeKeyIds.push(key.keyId);
  await sleep(delayMs);
}
