/** Writes docs/openapi.json: the HTTP door in OpenAPI 3.1, from the proto files and their comments. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { DescMethod, DescService, FileRegistry } from '@bufbuild/protobuf';
import { type Schema, Schemas } from './openapi-schemas.ts';
import { commentOn, readProtoFiles } from './proto-comments.ts';

const ROOT = resolve(import.meta.dirname, '..');
export const OPENAPI = join(ROOT, 'docs/openapi.json');

const SERVICES = ['keybalancer.v1.KeyBalancerService', 'keybalancer.v1.KeyAdminService'];

const DESCRIPTION = `Pools Google Gemini API keys and lends them to backend services as leases.

This is the HTTP door, by the [Connect protocol](https://connectrpc.com/docs/protocol/): a POST for each call, with the JSON of protobuf.
\`Session\`, a stream both ways, is left out: it needs gRPC.

- The texts call fields as the proto file does: \`max_wait\` is \`maxWait\` here.
- Fields that have their default value (0, false, "", an empty list) are left out of answers, and may be left out of requests.
- A field that a request has and this document has not is an error. Answers may get new fields and enum values.
- 64-bit integers are strings in answers. Requests may have them as numbers too, enums by number, and names of fields as in the proto file.
- There is no authentication: the server listens on loopback unless it is told otherwise.`;

/** HTTP status of each code of Connect. */
const STATUSES: Record<string, number> = {
  canceled: 499,
  unknown: 500,
  invalid_argument: 400,
  deadline_exceeded: 504,
  not_found: 404,
  already_exists: 409,
  permission_denied: 403,
  resource_exhausted: 429,
  failed_precondition: 400,
  aborted: 409,
  out_of_range: 400,
  unimplemented: 501,
  internal: 500,
  unavailable: 503,
  data_loss: 500,
  unauthenticated: 401,
};

/** What errors carry, see the comment at the head of the proto file. */
const DETAILS = ['google.rpc.ErrorInfo', 'google.rpc.RetryInfo', 'google.rpc.BadRequest'];

/** The document, ready to be written. */
export function openapi(): string {
  const files = readProtoFiles();
  const schemas = new Schemas();
  const services = SERVICES.map((name) => present(files.getService(name), name));
  const calls = services.flatMap((service) => service.methods.flatMap((method) => callOf(service, method, schemas)));
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const error = errorSchema(files, schemas);
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'KeyBalancer',
      version,
      description: DESCRIPTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: 'http://127.0.0.1:8051', description: 'Where the server listens unless --http says otherwise.' }],
    tags: [
      ...services.map((service) => ({ name: service.name, description: commentOn(service) })),
      { name: 'Operation', description: 'For those who run the server.' },
    ],
    paths: { ...Object.fromEntries(calls), ...PAGES },
    components: {
      schemas: { ...schemas.all(), Error: error },
      parameters: { Timeout: TIMEOUT },
      responses: { Error: ERROR_RESPONSE },
    },
  };
  return formatted(JSON.stringify(document));
}

function callOf(service: DescService, method: DescMethod, schemas: Schemas): [string, Schema][] {
  const streams = method.methodKind === 'server_streaming';
  // Streams to the server need HTTP/2.
  if (!streams && method.methodKind !== 'unary') return [];
  const comment = commentOn(method);
  const summary = /^.*?[.](?=\s|$)/.exec(comment)?.[0] ?? comment;
  const description = streams ? `${comment}\n\n${STREAM}` : comment;
  const content = (schema: Schema) => ({ [streams ? 'application/connect+json' : 'application/json']: { schema } });
  const operation = {
    tags: [service.name],
    operationId: method.name,
    summary,
    ...(description === summary ? {} : { description }),
    parameters: [{ $ref: '#/components/parameters/Timeout' }],
    requestBody: { required: true, content: content(schemas.reference(method.input)) },
    responses: {
      200: {
        description: streams ? 'Messages as they come. An error too comes in here, in the last.' : 'Done.',
        content: content(schemas.reference(method.output)),
      },
      default: { $ref: '#/components/responses/Error' },
    },
  };
  return [[`/${service.typeName}/${method.name}`, { post: operation }]];
}

const STREAM =
  'Before each message, also before that of the request, stand a byte of flags and its length in four bytes, the most significant first. ' +
  'Flags are 0, and 2 for the last message of the answer, an object that has an `error` if it did not end well. The schemas are those of one message.';

const TIMEOUT = {
  name: 'Connect-Timeout-Ms',
  in: 'header',
  description: 'Longest time for the call, in milliseconds. A wait for a key ends a little earlier.',
  schema: { type: 'integer', minimum: 1, maximum: 9_999_999_999 },
};

const ERROR_RESPONSE = {
  description: `What went wrong. The status follows from the code: ${Object.entries(STATUSES)
    .map(([code, status]) => `${code} ${status}`)
    .join(', ')}.`,
  headers: {
    'Retry-After': {
      description: 'Seconds until another try makes sense, where waiting helps.',
      schema: { type: 'integer', minimum: 0 },
    },
  },
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
};

function errorSchema(files: FileRegistry, schemas: Schemas): Schema {
  const details = DETAILS.map((name) => ({
    type: 'object',
    required: ['type', 'value'],
    properties: {
      type: { const: name },
      value: { type: 'string', contentEncoding: 'base64', description: 'The message in binary, without padding.' },
      debug: { ...schemas.reference(present(files.getMessage(name), name)), description: 'The same in JSON.' },
    },
  }));
  return {
    type: 'object',
    required: ['code'],
    properties: {
      code: { type: 'string', enum: Object.keys(STATUSES) },
      message: { type: 'string' },
      details: {
        type: 'array',
        description:
          'The ErrorInfo has the domain "keybalancer.v1", and as its reason a name of ErrorReason without "ERROR_REASON_".',
        items: { oneOf: details },
      },
    },
  };
}

/** As the formatter of this repository would have it. */
function formatted(text: string): string {
  const biome = join(ROOT, 'node_modules/.bin/biome');
  return execFileSync(biome, ['format', `--stdin-file-path=${OPENAPI}`], { cwd: ROOT, input: text, encoding: 'utf8' });
}

const status = (text: string): Schema => ({
  type: 'object',
  required: ['status'],
  properties: { status: { const: text } },
});

const page = (operationId: string, summary: string, responses: Schema): Schema => ({
  get: { tags: ['Operation'], operationId, summary, responses },
});

const json = (description: string, schema: Schema): Schema => ({
  description,
  content: { 'application/json': { schema } },
});

const PAGES: Record<string, Schema> = {
  '/healthz': page('Healthz', 'Whether the process runs.', { 200: json('It does.', status('ok')) }),
  '/readyz': page('Readyz', 'Whether it serves, and is not stopping.', {
    200: json('It does.', status('ready')),
    503: json('It does not.', status('not ready')),
  }),
  '/metrics': page('Metrics', 'Metrics for Prometheus.', {
    200: {
      description: 'In the text format of Prometheus.',
      content: { 'text/plain': { schema: { type: 'string' } } },
    },
    500: json('The store gives no figures.', { $ref: '#/components/schemas/Error' }),
  }),
};

function present<T>(found: T | undefined, name: string): T {
  if (found === undefined) throw new Error(`the proto files have no ${name}`);
  return found;
}

if (import.meta.main) writeFileSync(OPENAPI, openapi());
