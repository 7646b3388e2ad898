import type { IncomingMessage } from 'node:http';
import type { FakeMethod } from './behaviour.ts';

/** What a URL and HTTP method ask for. */
export interface Target {
  method: FakeMethod;
  /** `v1`, `v1beta` or another; errors name it. */
  version: string;
  model: string | undefined;
  fileId: string | undefined;
  query: URLSearchParams;
}

/** A request whose key is known, as the routes get it. */
export interface Call extends Target {
  apiKey: string;
  project: string;
  headers: IncomingMessage['headers'];
  bytes: Buffer;
  /** The body as JSON; undefined when it is none. */
  json: unknown;
}

/** Reads any API version. `other` is what the fake does not know. */
export function targetOf(httpMethod: string, url: string): Target {
  const { pathname, searchParams: query } = URL.parse(url, 'http://fake') ?? new URL('http://fake');
  const [, upload, version = '', path = ''] = /^\/(upload\/)?(v\d\w*)\/(.*)$/.exec(pathname) ?? [];
  const target: Target = { method: 'other', version, model: undefined, fileId: undefined, query };
  const verb = (method: FakeMethod, more: Partial<Target> = {}): Target => ({ ...target, method, ...more });

  if (upload !== undefined) return httpMethod === 'POST' && path === 'files' ? verb('files.upload') : target;
  const [, collection, id, action] = /^(models|files)(?:\/([^/:]+))?(?::(\w+))?$/.exec(path) ?? [];
  const name = id === undefined ? undefined : decoded(id);
  switch (`${httpMethod} ${collection}${name === undefined ? '' : '/id'}${action === undefined ? '' : `:${action}`}`) {
    case 'GET models':
      return verb('models.list');
    case 'GET models/id':
      return verb('models.get', { model: name });
    case 'POST models/id:generateContent':
      return verb('generateContent', { model: name });
    case 'POST models/id:streamGenerateContent':
      return verb('streamGenerateContent', { model: name });
    case 'POST models/id:countTokens':
      return verb('countTokens', { model: name });
    case 'GET files':
      return verb('files.list');
    case 'GET files/id':
      return verb('files.get', { fileId: name });
    case 'DELETE files/id':
      return verb('files.delete', { fileId: name });
    case 'GET files/id:download':
      return verb('files.download', { fileId: name });
    default:
      return target;
  }
}

/** The whole body; undefined when it is larger than `maxBytes`, of which no more than that is kept. Rejects when the client leaves. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size <= maxBytes) parts.push(part);
    // Read on to its end all the same: a client that still sends does not see an early answer.
    else parts.length = 0;
  }
  return size <= maxBytes ? Buffer.concat(parts) : undefined;
}

export function parsedJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
