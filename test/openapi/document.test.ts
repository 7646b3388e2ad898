import { readFileSync } from 'node:fs';
import { toJson } from '@bufbuild/protobuf';
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';
import { OPENAPI, openapi } from '../../scripts/openapi.ts';
import { file_google_rpc_error_details } from '../../src/gen/google/rpc/error_details_pb.ts';
import {
  file_keybalancer_v1_keybalancer,
  KeyAdminService,
  KeyBalancerService,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { filled } from './filled.ts';
import { document, wrong } from './schemas.ts';

const messages = file_keybalancer_v1_keybalancer.messages;

test('docs/openapi.json is what npm run openapi would write', () => {
  expect(readFileSync(OPENAPI, 'utf8')).toBe(openapi());
});

test('docs/openapi.json is valid OpenAPI 3.1', async () => {
  const validator = new Validator();
  expect(await validator.validate(OPENAPI)).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

test('a document with an error in it is not valid', async () => {
  const broken = structuredClone(document) as unknown as { paths: Record<string, { post: { responses: unknown } }> };
  broken.paths['/keybalancer.v1.KeyBalancerService/AcquireKey']!.post.responses = [];
  expect((await new Validator().validate(broken)).valid).toBe(false);
});

test('every call but Session is there, with its comment, and nothing refers to what is not', () => {
  const expected = [KeyBalancerService, KeyAdminService].flatMap(({ typeName, methods }) =>
    methods.filter(({ name }) => name !== 'Session').map(({ name }) => `/${typeName}/${name}`),
  );
  const calls = Object.entries(document.paths).filter(([, { post }]) => post !== undefined);
  expect(calls.map(([path]) => path).sort()).toEqual(expected.sort());
  expect(calls.filter(([, { post }]) => !(post as { summary?: string }).summary)).toEqual([]);
  expect(new Set(calls.map(([, { post }]) => post!.operationId)).size).toBe(calls.length);
  const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(
    ([, name]) => name,
  );
  expect(references.filter((name) => document.components.schemas[name!] === undefined)).toEqual([]);
});

test('what is secret, and what only the server sets, is marked', () => {
  const { Lease, CreateKeyRequest, Key } = document.components.schemas as Record<string, { properties: object }>;
  expect(Lease!.properties).toHaveProperty('apiKey.format', 'password');
  expect(CreateKeyRequest!.properties).toHaveProperty('apiKey.format', 'password');
  expect(Key!.properties).toHaveProperty('redactedKey.readOnly', true);
  expect(Key!.properties).not.toHaveProperty('weight.readOnly');
});

const inHttp = messages.filter(({ name }) => document.components.schemas[name] !== undefined);

test('every message that no stream both ways is made of is described', () => {
  const others = messages.filter((message) => !inHttp.includes(message)).map(({ name }) => name);
  expect(others.sort()).toEqual([
    'CancelOperation',
    'GoAway',
    'Operation',
    'OperationResult',
    'SessionRequest',
    'SessionResponse',
    'SessionSettings',
  ]);
});

test.each(inHttp.map((message) => [message.name, message] as const))(
  'the JSON of %s is as described, each field of it',
  (name, message) => {
    for (const choice of [0, 1, 2]) {
      const json = toJson(message, filled(message, choice).message as never);
      expect(wrong(name, json)).toBe('');
      // Every field was there, but for the other choices of a oneof.
      const alone = message.fields.filter(({ oneof }) => oneof === undefined || oneof.fields.length === 1);
      expect(Object.keys(json as object)).toEqual(expect.arrayContaining(alone.map(({ jsonName }) => jsonName)));
    }
  },
);

test.each(
  file_google_rpc_error_details.messages.filter(({ name }) => /^(?:ErrorInfo|RetryInfo|BadRequest)$/.test(name)),
)('the JSON of $name, which errors carry, is as described', (message) => {
  expect(wrong(message.name, toJson(message, filled(message, 0).message as never))).toBe('');
});

test('what is no protobuf JSON of a message is not as described', () => {
  const mistakes: [string, object][] = [
    ['AcquireKeyRequest', { maxWait: '5' }],
    ['AcquireKeyRequest', { maxWait: 5 }],
    ['AcquireKeyRequest', { pool: 7 }],
    ['AcquireKeyRequest', { estimatedTokens: 'many' }],
    ['AcquireKeyRequest', { excludeKeyIds: 'key-00000001' }],
    ['AcquireKeyRequest', { poool: 'default' }],
    ['ReportResultRequest', { outcome: 'SUCCESS' }],
    ['Lease', { labels: { egress: 1 } }],
    ['Lease', { expireTime: 'soon' }],
    ['PoolStats', { failuresByClass: { TIMEOUT: 1 } }],
  ];
  for (const [schema, value] of mistakes) expect([value, wrong(schema, value)]).not.toEqual([value, '']);
});
