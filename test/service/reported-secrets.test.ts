import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import {
  GetStatsRequestSchema,
  ListKeysRequestSchema,
  ListLeasesRequestSchema,
  ListQuotasRequestSchema,
  Outcome,
  type ProviderErrorSchema,
  ReportResultRequestSchema,
  TestKeysRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { testKeys } from '../../src/server/service/admin/test-keys.ts';
import { getStats } from '../../src/server/service/get-stats.ts';
import { reportResult } from '../../src/server/service/report-result.ts';
import { SAMPLES, textOf } from '../gemini/error-samples.ts';
import { acquireOrder, createKeyOrder } from '../support/orders.ts';
import { callOf, openService } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

type Told = MessageInitShape<typeof ProviderErrorSchema>;

// Of both forms, and shorter than real ones.
const AUTH = 'AQ.leaky-auth-key-0001';
const STANDARD = 'AIzaLeaky-standard-key-0002';
const SECRET_PARTS = ['leaky-auth-key', 'Leaky-standard-key'];

/** Everything of an error that can hold text, with keys in it. */
function poisoned(text: string, httpStatus: number): Told[] {
  const words = `${text} API key ${AUTH} of consumer 'api_key:${STANDARD}' at https://g.example/v1?key=${STANDARD}&alt=sse`;
  const asJson = (body: string): string => body.replaceAll('"message":"', `"message":"${AUTH} ?key=${STANDARD} `);
  const violation = {
    quotaMetric: AUTH,
    quotaId: `PerDay-${STANDARD}`,
    quotaValue: 5n,
    dimensions: { model: STANDARD },
  };
  return [
    { httpStatus, body: words },
    { httpStatus, body: asJson(text) },
    { httpStatus, body: JSON.stringify(asJson(text)) },
    { httpStatus, body: `got status: 429 . ${asJson(text)}`, message: words },
    { httpStatus: 429, message: words, reason: AUTH, status: STANDARD, consumerProject: `projects/${STANDARD}` },
    { httpStatus: 429, message: `Quota exceeded. ${words}`, quotaViolations: [violation] },
  ];
}

function holdsSecret(text: string): string[] {
  return SECRET_PARTS.filter((part) => text.includes(part));
}

/** As JSON, with what JSON has no numbers for. */
function shown(value: unknown): string {
  return JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? String(each) : each)) ?? '';
}

test('no key in any error that is reported or that a probe gets comes out again: not in answers, events, lists, statistics or files', async () => {
  const dataDir = tempDir();
  let probed: Told = {};
  const service = await openService({
    dataDir,
    probe: async () => {
      if (probed.reason === AUTH) throw new Error(`could not ask: ${probed.message}`, { cause: new Error(STANDARD) });
      return { latencyMs: 1, error: probed };
    },
  });
  const { store } = service.context;
  const said: string[] = [];
  onTestFinished(store.subscribe((changes) => said.push(shown(changes))));
  const keyIds: string[] = [];
  for (const apiKey of [AUTH, STANDARD]) {
    keyIds.push((await store.createKey(createKeyOrder(apiKey, { project: keyIds.length === 0 ? 'p' : '' }))).keyId);
  }
  for (const sample of SAMPLES) {
    for (const error of poisoned(textOf(sample), sample.httpStatus)) {
      for (const requireKeyId of keyIds) {
        await store.resetKey(requireKeyId);
        const { leaseId } = await store.acquire(acquireOrder({ requireKeyId })).catch(() => ({ leaseId: '' }));
        if (leaseId === '') continue;
        const request = create(ReportResultRequestSchema, { leaseId, outcome: Outcome.FAILURE, error });
        said.push(shown(await reportResult(service.context, request, service.call)));
      }
    }
    probed = poisoned(textOf(sample), sample.httpStatus)[SAMPLES.indexOf(sample) % 6]!;
    for (const keyId of keyIds) {
      const tests = testKeys(
        service.context,
        create(TestKeysRequestSchema, { keyIds: [keyId], apply: true }),
        callOf(),
      );
      for await (const result of tests) said.push(shown(result.errorClass));
    }
    said.push(shown(await store.acquire(acquireOrder({ model: 'none' })).then(() => '', String)));
  }
  const { admin, call, context } = service;
  said.push(
    shown(await getStats(context, create(GetStatsRequestSchema, { includeKeys: true, includeModels: true }), call)),
    shown(await admin.listKeys(create(ListKeysRequestSchema), call)),
    shown(await admin.listQuotas(create(ListQuotasRequestSchema), call)),
    shown(await admin.listLeases(create(ListLeasesRequestSchema), call)),
  );
  expect(said.length).toBeGreaterThan(SAMPLES.length * 4);
  expect(said.filter((text) => holdsSecret(text).length > 0)).toEqual([]);
  await service.close();
  for (const name of readdirSync(dataDir)) {
    expect(holdsSecret(readFileSync(join(dataDir, name), 'latin1')), name).toEqual([]);
  }
});

test('what an administrator is told of a key that was tested has no key in it', async () => {
  const probes: (() => Promise<{ latencyMs: number; error: Told }>)[] = [
    () => Promise.reject(new Error(`request to https://g.example/?key=${AUTH} failed, ${STANDARD}`)),
    () => Promise.reject(new TypeError('fetch failed', { cause: new Error(`Headers.append: "${AUTH}" is invalid`) })),
  ];
  for (const probe of probes) {
    const { context } = await openService({ probe });
    const { keyId } = await context.store.createKey(createKeyOrder(AUTH));
    for await (const result of testKeys(context, create(TestKeysRequestSchema, { keyIds: [keyId] }), callOf())) {
      expect(result).toMatchObject({ ok: false });
      expect(result.error?.message).not.toBe('');
      expect(holdsSecret(shown(result))).toEqual([]);
    }
  }
});
