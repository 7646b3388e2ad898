import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();
const ai = balancer.genai();

// The lease lasts as long as the stream. Whoever leaves the loop early ends the call and the lease, too.
const stream = await ai.models.generateContentStream({ model: 'gemini-2.5-flash', contents: 'Tell a long story.' });
for await (const chunk of stream) process.stdout.write(chunk.text ?? '');
process.stdout.write('\n');
