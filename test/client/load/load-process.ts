import type { GoogleGenAI } from '@google/genai';
import { createKeyBalancer } from '../../../src/client/index.ts';
import { expectedAnswer } from '../../fake-gemini/index.ts';

/** A process of an application: makes its calls, so many at once, closes its client and tells what came of them. */
export interface LoadOrder {
  /** Of the balancer. */
  place: { address: string } | { dataDir: string };
  model: string;
  geminiUrl: string;
  /** In every prompt, so that no other process has the same. */
  name: string;
  calls: number;
  callers: number;
}

export interface LoadResult {
  /** Calls that got the answer to their own prompt. */
  right: number;
  /** The others: what they got. */
  wrong: string[];
}

/** How long a call may take: as long as a slow machine needs to start a server, or to find the next owner of a data dir. */
const PATIENCE_MS = 120_000;

process.once('message', async (order: LoadOrder) => {
  const result = await load(order);
  process.send?.(result, () => process.disconnect());
});

async function load({ place, model, geminiUrl, name, calls, callers }: LoadOrder): Promise<LoadResult> {
  await using balancer = createKeyBalancer({
    ...place,
    genai: { httpOptions: { baseUrl: geminiUrl, timeout: PATIENCE_MS } },
  });
  const ai = balancer.genai();
  const result: LoadResult = { right: 0, wrong: [] };
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < calls) {
      const call = next++;
      const prompt = `call ${call} of ${name}`;
      const got = await (call % 2 === 0 ? generated : streamed)(ai, model, prompt).catch(String);
      if (got === expectedAnswer(prompt)) result.right++;
      else result.wrong.push(`${prompt}: ${got}`);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return result;
}

async function generated(ai: GoogleGenAI, model: string, prompt: string): Promise<string | undefined> {
  return (await ai.models.generateContent({ model, contents: prompt })).text;
}

async function streamed(ai: GoogleGenAI, model: string, prompt: string): Promise<string> {
  let text = '';
  for await (const chunk of await ai.models.generateContentStream({ model, contents: prompt })) {
    text += chunk.text ?? '';
  }
  return text;
}
