import { create } from '@bufbuild/protobuf';
import type { GoogleGenAI } from '@google/genai';
import { expect, onTestFinished, test } from 'vitest';
import { createKeyBalancer, type KeyBalancer } from '../../src/client/index.ts';
import {
  type AcquireKeyRequest,
  AcquireKeyResponseSchema,
  ReportResultResponseSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { expectedAnswer, startFakeGemini } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { MODEL } from './balancers.ts';
import { listen } from './scripted-balancer.ts';

const KEYS = apiKeys(3);

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

test.each([
  ['executeWithRetry()', (balancer: KeyBalancer) => balancer.executeWithRetry(ask)],
  ['genai()', (balancer: KeyBalancer) => ask(balancer.genai())],
])('%s leaves out the keys and projects that the balancer advises, beside those that it tried', async (_, call) => {
  const [first, second, third] = KEYS as [string, string, string];
  const fake = await startFakeGemini({
    keys: { [first]: { behaviour: 'dead' }, [second]: { behaviour: 'dead' }, [third]: {} },
  });
  onTestFinished(() => fake.close());
  const acquires: AcquireKeyRequest[] = [];
  const { address } = await listen({
    acquireKey: async (request) => {
      const apiKey = KEYS[acquires.push(request) - 1]!;
      const keyId = `key-${acquires.length}`;
      return create(AcquireKeyResponseSchema, { lease: { leaseId: `lease-of-${keyId}`, keyId, apiKey } });
    },
    reportResult: async () => {
      const [excludeKeyIds, excludeProjects] = [[`other-${acquires.length}`], [`project-${acquires.length}`]];
      return create(ReportResultResponseSchema, { retryAdvice: { retry: true, excludeKeyIds, excludeProjects } });
    },
  });
  const balancer = createKeyBalancer({ address, genai: { httpOptions: { baseUrl: fake.url } } });
  onTestFinished(() => balancer.close());
  expect(await call(balancer)).toBe(expectedAnswer('hello'));
  expect(acquires.map(({ excludeKeyIds }) => [...excludeKeyIds].sort())).toEqual([
    [],
    ['key-1', 'other-1'],
    ['key-1', 'key-2', 'other-1', 'other-2'],
  ]);
  expect(acquires.map(({ excludeProjects }) => excludeProjects)).toEqual([
    [],
    ['project-1'],
    ['project-1', 'project-2'],
  ]);
  // Each is asked for once, by an id of its own.
  expect(new Set(acquires.map(({ requestId }) => requestId)).size).toBe(3);
});
