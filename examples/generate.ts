import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();
const ai = balancer.genai();

const answer = await ai.models.generateContent({ model: 'gemini-2.5-flash', contents: 'Why is the sky blue?' });
console.log(answer.text);
