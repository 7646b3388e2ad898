import { createKeyBalancer } from 'keybalancer';

// Jobs have time: each may wait up to a minute for a key, behind the limits of a minute.
await using balancer = createKeyBalancer({ maxWait: 60_000 });
const ai = balancer.genai();

const jobs = Array.from({ length: 20 }, (_, index) => `Translate sentence ${index + 1}.`);
const answers: (string | undefined)[] = [];
const failures: { job: string; error: unknown }[] = [];

// Five at a time: all of them take the next job from one iterator.
const next = jobs.entries();
const work = async (): Promise<void> => {
  for (const [index, job] of next) {
    try {
      answers[index] = (await ai.models.generateContent({ model: 'gemini-2.5-flash', contents: job })).text;
    } catch (error) {
      failures.push({ job, error });
    }
  }
};
await Promise.all(Array.from({ length: 5 }, work));
console.log(`${answers.filter((answer) => answer !== undefined).length} done, ${failures.length} failed`);
