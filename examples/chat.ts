import { createKeyBalancer } from 'keybalancer';

await using balancer = createKeyBalancer();

// The turns of a chat stay with one key while it is free and well, so that what Gemini caches of them is used again.
const chat = balancer.genai().chats.create({ model: 'gemini-2.5-flash' });
for (const message of ['My name is Ada.', 'What is my name?']) {
  const answer = await chat.sendMessage({ message });
  console.log(answer.text);
}
console.log(`${chat.getHistory().length} messages`);
