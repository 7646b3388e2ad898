import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();
const ai = balancer.genai();

const cache = await ai.caches.create({
  model: 'gemini-2.5-flash',
  config: { contents: 'A text of many pages, about which there are many questions.', ttl: '600s' },
});
for (const contents of ['What is it about?', 'Who wrote it?']) {
  const config = { cachedContent: cache.name! };
  const answer = await ai.models.generateContent({ model: 'gemini-2.5-flash', contents, config });
  console.log(answer.text);
}
await ai.caches.delete({ name: cache.name! });
