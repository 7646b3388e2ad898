import { createPartFromUri } from '@google/genai';
import { createKeyBalancer } from '../../../src/client/index.ts';

/** A process of an application that makes a file, or asks about one that another made. */
export interface FileOrder {
  place: { address: string } | { dataDir: string };
  geminiUrl: string;
  /** undefined: it uploads one. */
  uri: string | undefined;
}

export interface FileAnswer {
  uri: string;
  text: string;
  /** Tries and their outcome, oldest first, and how many requests were made to look for the file. */
  outcomes: string[];
  searches: number;
}

process.once('message', async ({ place, geminiUrl, uri }: FileOrder) => {
  await using balancer = createKeyBalancer({ ...place, genai: { httpOptions: { baseUrl: geminiUrl } } });
  const outcomes: string[] = [];
  let searches = 0;
  balancer.on('report', ({ outcome, errorClass }) => outcomes.push(errorClass || outcome));
  balancer.on('retry', ({ search }) => {
    if (search) searches++;
  });
  const ai = balancer.genai();
  let [made, text] = [uri ?? '', ''];
  if (uri === undefined) {
    const file = await ai.files.upload({ file: new Blob(['some words'], { type: 'text/plain' }) });
    made = file.uri ?? '';
  } else {
    const contents = ['about the file', createPartFromUri(uri, 'text/plain')];
    text = (await ai.models.generateContent({ model: 'gemini-2.5-flash', contents })).text ?? '';
  }
  process.send!({ uri: made, text, outcomes, searches } satisfies FileAnswer, () => process.disconnect());
});
