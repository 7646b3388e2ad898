import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { KeyBalancerError } from '../../src/client/errors.ts';
import {
  connect,
  createKeyBalancer,
  type KeyBalancer,
  type KeyBalancerOptions,
  type RemoteOptions,
} from '../../src/client/index.ts';
import { expectedAnswer } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';
import { warned } from './scripted-balancer.ts';

const [ONE] = apiKeys(1) as [string];
const ADDRESS = '127.0.0.1:50051';
const NO_NUMBERS = [Number.NaN, -1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, '1', 1n, null, [1], {}, true];

function thrownBy(make: () => unknown): KeyBalancerError {
  try {
    make();
  } catch (error) {
    expect(error).toBeInstanceOf(KeyBalancerError);
    return error as KeyBalancerError;
  }
  throw new Error('it did not throw');
}

async function rejectionOf(make: () => Promise<unknown>): Promise<KeyBalancerError> {
  const error = await make().then(
    () => new Error('it did not reject'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(KeyBalancerError);
  return error as KeyBalancerError;
}

const made = (options: object) => thrownBy(() => createKeyBalancer(options as KeyBalancerOptions));
const ask = (balancer: KeyBalancer) => balancer.genai().models.generateContent({ model: MODEL, contents: 'hello' });

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('an unknown option', () => {
  test.each([
    ['adress', 'address'],
    ['datadir', 'dataDir'],
    ['DATA_DIR', 'dataDir'],
    ['max_retries', 'maxRetries'],
    ['retrydelay', 'retryDelay'],
    ['retryBudgets', 'retryBudget'],
  ])('%s is named with the one that was meant', (given, meant) => {
    expect(made({ [given]: 1 }).message).toMatch(
      new RegExp(`^option "${given}" is unknown; allowed: .*; did you mean "${meant}"\\?$`),
    );
  });

  test.each(['apiKey', 'url', 'x', 'concurrency'])('%s is near to none', (given) => {
    expect(made({ [given]: 1 }).message).toMatch(/^option "\w+" is unknown; allowed: address, .*autoSuccess$/);
  });
});

describe('a number that is none, or out of bounds, is refused by name', () => {
  const CLIENT = ['maxRetries', 'retryDelay', 'maxWait', 'deadline', 'retryBudget', 'maxProjects', 'cacheSize'];
  test.each(CLIENT)('of the client: %s', (name) => {
    for (const value of [...NO_NUMBERS, 1e99]) {
      expect(made({ address: ADDRESS, [name]: value })).toMatchObject({
        code: 'INVALID_ARGUMENT',
        violations: [{ field: name }],
      });
    }
  });

  test.each(['maxRetries', 'retryDelay', 'maxWait', 'deadline'])('of withRetry: %s', async (name) => {
    await using balancer = createKeyBalancer({ address: ADDRESS });
    for (const value of [...NO_NUMBERS, 1e99]) {
      const error = thrownBy(() => balancer.withRetry(() => 1, { [name]: value }));
      expect(error.metadata).toEqual({ field: name });
    }
  });

  test('of the SDK: the time limit', () => {
    for (const timeout of NO_NUMBERS) {
      expect(made({ genai: { httpOptions: { timeout } } }).metadata).toEqual({ field: 'genai.httpOptions.timeout' });
    }
  });

  test('of leases, batches, watches, keys and usage', async () => {
    vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
    const { wrapper } = await bench({ dataDir: tempDir() }, { [ONE]: {} });
    const key = await wrapper.lease();
    const calls: Record<string, (value: never) => Promise<unknown>> = {
      maxWait: (maxWait) => wrapper.lease({ maxWait }),
      estimatedTokens: (estimatedTokens) => wrapper.lease({ estimatedTokens }),
      'sizes[0]': (size) => wrapper.leaseBatches([size]),
      'sizes[1]': (size) => wrapper.leaseBatches([1, size]),
      heartbeatInterval: (heartbeatInterval) =>
        wrapper.watchHealth({ heartbeatInterval })[Symbol.asyncIterator]().next(),
      inputTokens: (inputTokens) => key.succeeded({ inputTokens }),
      outputTokens: (outputTokens) => key.succeeded({ outputTokens }),
      cachedTokens: (cachedTokens) => key.succeeded({ cachedTokens }),
      keys: async (keys) => wrapper.optimizeForLargeKeysets(keys),
    };
    for (const [field, call] of Object.entries(calls)) {
      for (const value of NO_NUMBERS) {
        expect((await rejectionOf(() => call(value as never))).violations).toMatchObject([{ field }]);
      }
    }
    for (const weight of NO_NUMBERS) {
      const { violations } = await rejectionOf(() => wrapper.addKey('AQ.another', weight as number));
      expect(violations[0]?.field).toMatch(/weight$/);
    }
    await key.succeeded();
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
  });

  test('of a data dir that is opened here, and of a call', async () => {
    vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
    const balancer = await connect({ dataDir: tempDir() });
    onTestFinished(() => balancer.close());
    for (const value of NO_NUMBERS) {
      const given = value as number;
      const opening = await rejectionOf(() => connect({ dataDir: tempDir(), embedded: { cacheSize: given } }));
      expect(opening.metadata).toEqual({ field: 'cacheSize' });
      const call = await rejectionOf(() => balancer.keyBalancer.getStats({}, { timeoutMs: given }));
      expect(call.metadata).toEqual({ field: 'timeoutMs' });
    }
  });
});

test.each([
  [{ durabilty: 'full' }, 'option "durabilty" is unknown; allowed: durability,'],
  [{ durability: 'fast' }, 'durability is another text; allowed: full or normal'],
  [{ masterKey: { path: '/x' } }, 'option "path" is unknown; allowed: value, file'],
  [{ geminiBaseUrl: 'localhost' }, 'geminiBaseUrl is "localhost"; allowed: an http or https URL'],
  [{ warn: true }, 'warn is a boolean; allowed: a function'],
])('what a data dir is opened with is checked: %j', async (embedded, message) => {
  expect((await rejectionOf(() => connect({ dataDir: tempDir(), embedded: embedded as object }))).message).toContain(
    message,
  );
});

test.each<[object, string]>([
  [{ pool: 'bad pool!' }, 'pool is "bad pool!"; allowed: a lower-case letter'],
  [{ autoSuccess: 1 }, 'autoSuccess is a number; allowed: true or false'],
  [{ genai: { apiVersion: 5 } }, 'genai.apiVersion is a number; allowed: a text'],
  [{ genai: { httpOptions: { headers: 'x' } } }, 'genai.httpOptions.headers is a string; allowed: an object'],
  [{ genai: { httpOptions: { headers: { a: 1 } } } }, 'genai.httpOptions.headers["a"] is a number; allowed: a text'],
  [{ genai: { httpOptions: { extraBody: 5 } } }, 'genai.httpOptions.extraBody is a number; allowed: an object'],
])('an option of another kind is refused as the client is made: %j', (options, message) => {
  expect(made({ address: ADDRESS, ...options }).message).toContain(message);
});

test.each([
  [{ kinds: 5 }, 'kinds is a number; allowed: a list of HealthEventKind'],
  [{ kinds: ['KEY_CHANGED'] }, 'kinds[0] is a string; allowed: a whole number'],
  [{ skipSnapshot: 'yes' }, 'skipSnapshot is a string; allowed: true or false'],
])('so is one of a watch, as it begins: %j', async (options, message) => {
  await using balancer = createKeyBalancer({ address: ADDRESS });
  const watch = balancer.watchHealth(options as object)[Symbol.asyncIterator]();
  expect((await rejectionOf(() => watch.next())).message).toContain(message);
});

test('usage that is misspelt is refused, and the lease can still be reported', async () => {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  const { wrapper } = await bench({ dataDir: tempDir() }, { [ONE]: {} });
  const key = await wrapper.lease();
  const error = await rejectionOf(() => key.succeeded({ inputToken: 5 } as object));
  expect(error.message).toMatch(/^option "inputToken" is unknown; .*did you mean "inputTokens"\?$/);
  await key.succeeded();
  expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
});

describe('where the balancer is', () => {
  test('both address and dataDir are refused', () => {
    expect(made({ address: ADDRESS, dataDir: '/x' }).message).toMatch(
      /^address and dataDir is .*one of them, or neither$/,
    );
  });

  test.each(['', 'localhost', ':1', 'http://127.0.0.1:50051', '127.0.0.1:70000', ['127.0.0.1:1', 'x']])(
    'an address that is none is refused before the first call: %j',
    (address) => {
      expect(made({ address }).message).toMatch(/^address is /);
    },
  );

  test.each([
    [{ token: 'two words' }, 'token is not one'],
    [{ token: 5 }, 'token is a number'],
    [{ tls: 'yes' }, 'tls is a string'],
    [{ tls: { ca: '/nowhere/ca.pem' } }, 'tls.ca is a file "/nowhere/ca.pem" that cannot be read (ENOENT)'],
    [{ tls: { cert: '/nowhere/cert.pem' } }, 'tls is a cert without its key'],
  ])('and what is shown to it, too: %j', (options, message) => {
    expect(made({ address: ADDRESS, ...options }).message).toContain(message);
  });

  test.each(['localhost', '127.0.0.1:1,,', '127.0.0.1:1,x'])('one of the environment, by its variable: %s', (list) => {
    vi.stubEnv('KEYBALANCER_ADDRESS', list);
    expect(made({}).message).toMatch(/^KEYBALANCER_ADDRESS is /);
  });

  test.each([
    [{ tls: true }, 'tls'],
    [{ tls: 'banana' }, 'tls'],
    [{ token: 'secret' }, 'token'],
    [{ tls: false, token: 5 }, 'token'],
  ])('but without an address there is nobody to show it to: %j', async (options, name) => {
    const message = `${name} is given without an address; allowed: with address or KEYBALANCER_ADDRESS`;
    for (const dir of [{ dataDir: tempDir() }, {}]) {
      expect(made({ ...dir, ...options }).message).toContain(message);
      const remote = options as RemoteOptions;
      expect((await rejectionOf(() => connect({ ...dir, remote }))).message).toContain(message);
    }
  });

  test.each(WAYS)('with neither, the environment says: $way', async ({ place }) => {
    const where = await place();
    const { fake } = await bench(where, { [ONE]: {} });
    if ('address' in where) vi.stubEnv('KEYBALANCER_ADDRESS', where.address);
    else vi.stubEnv('KEYBALANCER_DATA_DIR', where.dataDir);
    await using balancer = createKeyBalancer({ genai: { httpOptions: { baseUrl: fake.url } } });
    expect((await ask(balancer)).text).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 1 });
  });
});

describe('what the environment says of Gemini', () => {
  const VERTEX = 'https://us-central1-aiplatform.googleapis.com';

  test.each([
    ['GOOGLE_GEMINI_BASE_URL', 'localhost:8080', 'an http or https URL'],
    ['KEYBALANCER_GEMINI_BASE_URL', 'generativelanguage.googleapis.com', 'an http or https URL'],
    ['GOOGLE_GEMINI_BASE_URL', VERTEX, 'Vertex takes none of its keys'],
    ['KEYBALANCER_GEMINI_BASE_URL', 'https://aiplatform.googleapis.com/', 'Vertex takes none of its keys'],
  ])('is refused with its variable where it is no place of the API: %s=%s', (name, url, why) => {
    vi.stubEnv(name, url);
    const { message } = made({ address: ADDRESS });
    expect(message).toContain('the base URL in the environment is');
    expect(message).toContain(`(${name})`);
    expect(message).toContain(why);
  });

  test('counts for nothing where the client has a base URL of its own', async () => {
    vi.stubEnv('GOOGLE_GEMINI_BASE_URL', 'localhost');
    await using balancer = createKeyBalancer({
      address: ADDRESS,
      genai: { httpOptions: { baseUrl: 'http://127.0.0.1:1' } },
    });
    expect(balancer.genai().vertexai).toBe(false);
  });

  test.each(['localhost', VERTEX, 5, ''])('as a base URL of the client: %j', (baseUrl) => {
    expect(made({ genai: { httpOptions: { baseUrl } } }).metadata).toEqual({ field: 'genai.httpOptions.baseUrl' });
  });

  test('that Vertex was meant is told once a client, and calls go to the API with leased keys', async () => {
    vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
    const warnings = warned();
    vi.stubEnv('GOOGLE_GENAI_USE_VERTEXAI', 'true');
    vi.stubEnv('GOOGLE_CLOUD_PROJECT', 'a-project');
    const { fake, wrapper } = await bench({ dataDir: tempDir() }, { [ONE]: {} });
    for (let call = 0; call < 2; call++) expect((await ask(wrapper)).text).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 2 });
    expect(warnings).toEqual([
      'GOOGLE_GENAI_USE_VERTEXAI in the environment changes nothing: calls go to the Gemini API, with leased keys',
    ]);
  });

  test.each([
    ['GOOGLE_GENAI_USE_VERTEXAI', 'false'],
    ['GOOGLE_CLOUD_PROJECT', 'a-project'],
    ['GOOGLE_API_KEY', 'AQ.environment'],
  ])('is nothing to tell: %s=%s', async (name, value) => {
    const warnings = warned();
    vi.stubEnv(name, value);
    await createKeyBalancer({ address: ADDRESS }).close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });
});

test('options of genai() that are undefined leave those of the client as they are', async () => {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  vi.stubEnv('GOOGLE_GEMINI_BASE_URL', 'http://127.0.0.1:1');
  const genai = { httpOptions: { headers: { 'x-own': '1' } } };
  const { fake, wrapper } = await bench({ dataDir: tempDir() }, { [ONE]: {} }, { genai });
  const ai = wrapper.genai({ apiVersion: undefined, httpOptions: { baseUrl: undefined, headers: undefined } } as never);
  await ai.models.generateContent({ model: MODEL, contents: 'hello' });
  expect(fake.counts.byKey).toEqual({ [ONE]: 1 });
});

test('an option of genai() that is misspelt is told with ours among those there are', async () => {
  await using balancer = createKeyBalancer({ address: ADDRESS });
  expect(thrownBy(() => balancer.genai({ affinitykey: 'a' } as never)).message).toBe(
    'option "affinitykey" is unknown; allowed: affinityKey, apiVersion, httpOptions; did you mean "affinityKey"?',
  );
});

test('retryOptions are refused where they can be seen, with why', async () => {
  const httpOptions = { retryOptions: { attempts: 2 } };
  expect(made({ genai: { httpOptions } }).message).toMatch(/retryOptions is given; .*maxRetries and retryDelay/);
  await using balancer = createKeyBalancer({ address: ADDRESS });
  expect(thrownBy(() => balancer.genai({ httpOptions })).metadata).toEqual({ field: 'genai.httpOptions.retryOptions' });
});

test('a function cannot give a call a fetch or retries of its own either, and no key is blamed', async () => {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  const { wrapper, fake } = await bench({ dataDir: tempDir() }, { [ONE]: {} });
  for (const httpOptions of [{ fetch: vi.fn() }, { retryOptions: { attempts: 2 } }]) {
    const call = { model: MODEL, contents: 'hello', config: { httpOptions } };
    const error = await rejectionOf(() => wrapper.executeWithRetry((ai) => ai.models.generateContent(call)));
    expect(error.metadata).toEqual({ field: `config.httpOptions.${Object.keys(httpOptions)[0]}` });
  }
  expect(fake.counts.total).toBe(0);
  expect(await endings(wrapper)).toEqual({ acquired: 2, unused: 2 });
});

test.each([
  [
    { onConflct: 'keep' },
    'option "onConflct" is unknown; allowed: format, weight, project, models, labels, onConflict,',
  ],
  [{ onConflict: 'replace' }, 'onConflict is another text; allowed: keep or update'],
  [{ signal: {} }, 'signal is an object; allowed: an AbortSignal'],
  [{ onProgress: 1 }, 'onProgress is a number; allowed: a function'],
  [{ pool: 'p' }, 'option "pool" is unknown'],
])('an import of a file with %j is refused', async (options, message) => {
  await using balancer = createKeyBalancer({ dataDir: tempDir() });
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  const error = await rejectionOf(() => balancer.importKeysFromFile('/nowhere', 'x', options as object));
  expect(error.message).toContain(message);
});

test("the predecessor's names do the same: batchGetKeys() leases batches", async () => {
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  const { wrapper } = await bench({ dataDir: tempDir() }, Object.fromEntries(apiKeys(3).map((key) => [key, {}])));
  const batches = await wrapper.batchGetKeys([1, 3], { model: MODEL });
  expect(batches.map((keys) => new Set(keys.map(({ keyId }) => keyId)).size)).toEqual([1, 3]);
  await Promise.all(batches.flat().map((key) => key[Symbol.asyncDispose]()));
  expect(await endings(wrapper)).toEqual({ acquired: 4, unused: 4 });
});

test('what is to be wrapped is refused at once where it is no function', async () => {
  await using balancer = createKeyBalancer({ address: ADDRESS });
  expect(thrownBy(() => balancer.withRetry(undefined as never)).message).toBe('fn is undefined; allowed: a function');
});

test('a closed client refuses all that would need a balancer, whatever it offers', async () => {
  const balancer = createKeyBalancer({ address: ADDRESS });
  const watch = balancer.watchHealth()[Symbol.asyncIterator]();
  const wrapped = balancer.withRetry(() => 1);
  await balancer.close();
  const refused: Record<string, () => unknown> = {
    genai: () => balancer.genai(),
    executeWithRetry: () => balancer.executeWithRetry(() => 1),
    withRetry: () => wrapped(),
    lease: () => balancer.lease(),
    leaseBatches: () => balancer.leaseBatches([1]),
    batchGetKeys: () => balancer.batchGetKeys([1]),
    watchHealth: () => watch.next(),
    addKey: () => balancer.addKey(ONE),
    importKeysFromFile: () => balancer.importKeysFromFile('/nowhere'),
    getStats: () => balancer.getStats(),
    getMemoryUsage: () => balancer.getMemoryUsage(),
    optimizeForLargeKeysets: () => balancer.optimizeForLargeKeysets(1),
  };
  const harmless = ['constructor', 'servedByFallback', 'on', 'close'];
  expect(Object.getOwnPropertyNames(Object.getPrototypeOf(balancer)).sort()).toEqual(
    [...Object.keys(refused), ...harmless].sort(),
  );
  for (const call of Object.values(refused)) {
    const error = await rejectionOf(async () => call());
    expect(error).toMatchObject({ code: 'FAILED_PRECONDITION', message: 'the client of this KeyBalancer is closed' });
  }
});

test.each<[object, string]>([
  [
    { adress: ADDRESS },
    'option "adress" is unknown; allowed: address, remote, dataDir, embedded, visit; did you mean "address"?',
  ],
  [{ address: ADDRESS, remote: { timeout: 1 } }, 'option "timeout" is unknown; allowed: timeoutMs,'],
  ...NO_NUMBERS.map(
    (timeoutMs) => [{ address: ADDRESS, remote: { timeoutMs } }, 'remote.timeoutMs is '] as [object, string],
  ),
])('connect() refuses %o', async (options, message) => {
  expect((await rejectionOf(() => connect(options))).message).toContain(message);
});
