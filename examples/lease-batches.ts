import { GoogleGenAI } from '@google/genai';
import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();

// Two batches, of one and two keys: all or none. Within a batch each key is another.
const batches = await balancer.leaseBatches([1, 2], { model: 'gemini-2.5-flash', maxWait: 5000 });
for (const [index, keys] of batches.entries()) {
  const answers = keys.map(async (key) => {
    const ai = new GoogleGenAI({ apiKey: key.apiKey, vertexai: false });
    try {
      const { text } = await ai.models.generateContent({ model: 'gemini-2.5-flash', contents: `Part ${index + 1}.` });
      await key.succeeded();
      return text;
    } catch (error) {
      return (await key.failed(error)).errorClass;
    }
  });
  console.log(await Promise.all(answers));
}
