import { createPartFromUri, createUserContent } from '@google/genai';
import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();
const ai = balancer.genai();

// A file belongs to the project of the key that uploaded it. What names it is sent there, from other processes too.
const file = await ai.files.upload({ file: new Blob(['some words']), config: { mimeType: 'text/plain' } });
const answer = await ai.models.generateContent({
  model: 'gemini-2.5-flash',
  contents: createUserContent(['Sum it up.', createPartFromUri(file.uri!, file.mimeType!)]),
});
console.log(answer.text);
await ai.files.delete({ name: file.name! });
