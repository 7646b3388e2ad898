import { createKeyBalancer } from 'keybalancer';

// No server: the keys are in a directory, which other processes may use at the same time.
await using balancer = createKeyBalancer({ dataDir: './keys' });
await balancer.addKey('AQ.your-first-key');
await balancer.addKey('AQ.your-second-key', 2);

const answer = await balancer.genai().models.generateContent({ model: 'gemini-2.5-flash', contents: 'Say hello.' });
console.log(answer.text);

const { total } = await balancer.getStats();
console.log(`${total?.usage?.succeeded} calls succeeded, ${total?.usage?.failed} failed`);
