import { expect, onTestFinished, test } from 'vitest';
import { startServer } from '../../src/server/index.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { post } from '../http/door.ts';
import { tempDir } from '../support/temp-dir.ts';
import { document, problems, wrong } from './schemas.ts';

type Json = Record<string, unknown>;

/** A server, a fake Gemini with two healthy keys and a dead one, and calls that are held against the document. */
async function describedServer() {
  const fake = await startFakeGemini({
    keys: { 'AQ.test-key-000001': {}, 'AQ.test-key-000002': {}, 'AQ.test-key-000003': { behaviour: 'dead' } },
  });
  onTestFinished(() => fake.close());
  const options = { dataDir: tempDir(), http: '127.0.0.1:0', durability: 'normal', geminiBaseUrl: fake.url } as const;
  const server = await startServer(options);
  onTestFinished(() => server.drain());
  const base = `http://${server.http}`;
  const called = new Set<string>();

  const operation = (name: string) => {
    const found = Object.entries(document.paths).find(([, { post }]) => post?.operationId === name);
    if (found === undefined) throw new Error(`the document has no ${name}`);
    called.add(name);
    return { url: `${base}${found[0]}`, ...found[1].post! };
  };

  /** Calls; both the request and the answer must be as described. */
  const call = async (name: string, request: Json = {}): Promise<Json> => {
    const { url, requestBody, responses } = operation(name);
    expect(problems(requestBody!.content['application/json']!.schema, request), name).toBe('');
    const response = await post(url, request);
    const answer = (await response.json()) as Json;
    expect(response.status, JSON.stringify(answer)).toBe(200);
    expect(problems(responses['200']!.content!['application/json']!.schema, answer), name).toBe('');
    return answer;
  };

  /** A call that is refused, as described. */
  const refused = async (name: string, request: Json) => {
    const { url } = operation(name);
    const response = await post(url, request);
    const error = (await response.json()) as Json;
    expect(wrong('Error', error)).toBe('');
    return { status: response.status, retryAfter: response.headers.get('retry-after'), error };
  };

  /** Messages of a stream, until `enough` says so or it ends. The last message of one that ended is not among them. */
  const stream = async (name: string, request: Json, enough: (messages: Json[]) => boolean): Promise<Json[]> => {
    const { url, requestBody, responses } = operation(name);
    const type = 'application/connect+json';
    expect(problems(requestBody!.content[type]!.schema, request), name).toBe('');
    const aborted = new AbortController();
    const body = enveloped(request);
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': type },
      body,
      signal: aborted.signal,
    });
    expect(response.headers.get('content-type')).toBe(type);
    const messages: Json[] = [];
    let rest = Buffer.alloc(0);
    for await (const chunk of response.body!) {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
        const message = JSON.parse(rest.subarray(5, 5 + rest.readUInt32BE(1)).toString()) as Json;
        if (rest[0] === 0) {
          expect(problems(responses['200']!.content![type]!.schema, message), name).toBe('');
          messages.push(message);
        } else {
          expect(rest[0]).toBe(2);
          expect(message).not.toHaveProperty('error');
        }
        rest = rest.subarray(5 + rest.readUInt32BE(1));
      }
      if (enough(messages)) break;
    }
    aborted.abort();
    return messages;
  };

  return { base, called, call, refused, stream };
}

function enveloped(message: Json): Buffer<ArrayBuffer> {
  const text = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(5);
  head.writeUInt32BE(text.length, 1);
  return Buffer.concat([head, text]);
}

const model = 'gemini-2.5-flash';

test('every call answers as the document says, and takes what it says', async () => {
  const { base, called, call, refused, stream } = await describedServer();

  await call('CreatePool', { pool: { pool: 'batch', defaultLeaseTtl: '60s', maxWaiting: 10, autoSuccess: true } });
  await call('UpdatePool', { pool: { pool: 'batch', description: 'of the night' }, updateMask: 'description' });
  const created = await call('CreateKey', {
    apiKey: 'AQ.test-key-000001',
    key: { weight: 2.5, project: 'project-1', labels: { egress: 'proxy-1' }, models: [model], source: 'tests' },
    requestId: 'create-1',
  });
  expect(created).toMatchObject({ key: { weight: 2.5, labels: { egress: 'proxy-1' } } });
  const keys = [{ apiKey: 'AQ.test-key-000002' }, { apiKey: 'AQ.test-key-000003' }, { apiKey: 'no key' }];
  const imported = await call('ImportKeys', { keys, source: 'tests', onConflict: 'IMPORT_CONFLICT_KEEP' });
  expect(imported.results).toMatchObject([{ status: 'IMPORT_STATUS_CREATED' }, {}, { error: expect.anything() }]);
  await call('UpdateKey', { key: { keyId: 'key-00000002', project: 'project-2' }, updateMask: 'project' });
  await call('SetQuota', { quota: { project: 'project-1', model, requestsPerMinute: { value: '100' } } });

  const acquire = { model, maxWait: '1s', requireKeyId: 'key-00000001', estimatedTokens: '12', affinityKey: 'chat-1' };
  const { lease } = (await call('AcquireKey', acquire)) as { lease: Json };
  expect(lease.ttl).toMatch(/^\d+(\.\d+)?s$/);
  const { leaseId } = lease as { leaseId: string };
  await call('RenewLease', { leaseId, leaseTtl: '90.500s' });
  await call('ListLeases');
  const usage = { inputTokens: '5', outputTokens: '8' };
  const kept = {
    leaseId,
    outcome: 'OUTCOME_SUCCESS',
    latency: '1.250s',
    usage,
    keepLease: true,
    requestId: 'report-1',
  };
  await call('ReportResult', kept);
  const violation = { quotaId: 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier', quotaValue: '10' };
  const error = { httpStatus: 429, status: 'RESOURCE_EXHAUSTED', retryDelay: '600s', quotaViolations: [violation] };
  const failed = await call('ReportResult', { leaseId, outcome: 'OUTCOME_FAILURE', error });
  expect(failed).toMatchObject({ retryAdvice: { retry: true }, keyHealth: { cooldowns: [{}] } });

  const { batches } = (await call('BatchGetKeys', { batchSizes: [1, 1], keyReuse: 'KEY_REUSE_ALLOWED' })) as {
    batches: { leases: { leaseId: string }[] }[];
  };
  const reports = batches.flatMap(({ leases }) =>
    leases.map(({ leaseId }) => ({ leaseId, outcome: 'OUTCOME_UNUSED' })),
  );
  const reported = await call('BatchReportResults', { reports: [...reports, { leaseId: 'none' }] });
  expect(reported.results).toMatchObject([{ response: {} }, { response: {} }, { error: {} }]);

  const tested = await stream('TestKeys', { pool: 'default', timeout: '10s', apply: true }, () => false);
  expect(tested).toHaveLength(3);
  expect(tested.filter(({ ok }) => ok)).toHaveLength(2);
  const [snapshot] = await stream('WatchHealth', { heartbeatInterval: '1s' }, ({ length }) => length > 0);
  expect(snapshot).toMatchObject({ snapshot: { keys: [{}, {}, {}] } });

  await call('GetStats', { includeKeys: true, includeModels: true });
  const listed = await call('ListKeys', { pageSize: 2 });
  expect(listed).toMatchObject({ totalSize: '3', nextPageToken: expect.any(String) });
  for (const list of ['ListPools', 'ListImports', 'ListQuotas']) await call(list);
  await call('GetKey', { keyId: 'key-00000001' });
  await call('ResetKey', { keyId: 'key-00000003' });
  await call('AcquireKey', { requireKeyId: 'key-00000002' });
  const { leases } = (await call('ListLeases', { keyId: 'key-00000002' })) as { leases: { leaseRef: string }[] };
  await call('RevokeLease', { leaseRef: leases[0]!.leaseRef });
  await call('DeleteQuota', { project: 'project-1', model });
  await call('DeleteKey', { keyId: 'key-00000003' });
  await call('DeletePool', { pool: 'batch' });

  expect(await refused('AcquireKey', { pool: 'none' })).toMatchObject({
    status: 404,
    error: { code: 'not_found', details: [{ type: 'google.rpc.ErrorInfo', debug: { reason: 'POOL_NOT_FOUND' } }] },
  });
  expect(await refused('AcquireKey', { model, requireKeyId: 'key-00000001' })).toMatchObject({
    status: 429,
    retryAfter: expect.stringMatching(/^\d+$/),
    error: { code: 'resource_exhausted', details: [{}, { type: 'google.rpc.RetryInfo' }] },
  });
  expect(await refused('AcquireKey', { leaseTtl: '0.5s' })).toMatchObject({
    status: 400,
    error: { code: 'invalid_argument', details: [{}, { type: 'google.rpc.BadRequest' }] },
  });

  const described = Object.values(document.paths).flatMap(({ post }) => (post === undefined ? [] : [post.operationId]));
  expect([...called].sort()).toEqual(described.sort());

  for (const [path, { get }] of Object.entries(document.paths)) {
    if (get === undefined) continue;
    const response = await fetch(`${base}${path}`);
    expect(response.status).toBe(200);
    const content = get.responses['200']!.content!;
    const [type] = response.headers.get('content-type')!.split(';');
    expect(Object.keys(content)).toEqual([type]);
    if (type === 'application/json') expect(problems(content[type]!.schema, await response.json())).toBe('');
  }
});

test('what the document refuses of a request, the server refuses too', async () => {
  const { refused } = await describedServer();
  const requests: [string, Json][] = [
    ['AcquireKey', { poool: 'default' }],
    ['AcquireKey', { pool: 7 }],
    ['AcquireKey', { maxWait: '5' }],
    ['AcquireKey', { maxWait: 5 }],
    ['AcquireKey', { excludeKeyIds: 'key-00000001' }],
    ['AcquireKey', { estimatedTokens: 'many' }],
    ['BatchGetKeys', { batchSizes: ['ten'] }],
    ['BatchGetKeys', { keyReuse: 'NEVER' }],
    ['ReportResult', { outcome: 'SUCCESS' }],
    ['CreateKey', { key: { labels: { egress: 1 } } }],
    ['UpdateKey', { updateMask: ['weight'] }],
  ];
  for (const [name, request] of requests) {
    expect([name, request, wrong(`${name}Request`, request)]).not.toEqual([name, request, '']);
    const { status, error } = await refused(name, request);
    expect([name, request, status, error.code]).toEqual([name, request, 400, 'invalid_argument']);
  }
});
