import recorded from './errors.json' with { type: 'json' };

/**
 * How an error body travels: as JSON; as a JSON array of one; or as JSON text under another content type, which makes
 * @google/genai put the whole body into a string (`sse` is what Google does for `alt=sse`).
 */
export type Wrapping = 'json' | 'array' | 'text' | 'sse';

/** An error that errors.json lacks. A string as body is sent as HTML, anything else as JSON. */
export interface CustomError {
  /** HTTP status, 200 to 599. */
  status: number;
  body: unknown;
}

/** What goes over the wire for an error. */
export interface ErrorTemplate {
  status: number;
  body: unknown;
  /**
   * `json` follows the wrapping; `text` is JSON text under text/plain and `html` a page, whatever the wrapping; `brokenJson` claims JSON and
   * has no body; `cut` and `silence` have no answer; `stream` is a chunk within a stream.
   */
  wire: 'json' | 'text' | 'html' | 'brokenJson' | 'cut' | 'silence' | 'stream';
  /** Which requests it refuses unless told otherwise. */
  reach: 'everything' | 'modelCalls' | 'generation';
}

/** What the placeholders of the recorded bodies stand for in one answer. */
export interface ErrorContext {
  apiKey?: string | undefined;
  project?: string | undefined;
  model?: string | undefined;
  fileId?: string | undefined;
}

interface Recorded {
  name: string;
  http_status: number;
  body: unknown;
  shape?: string;
  expected: { scope: string };
}

const EXPIRED = 'API key expired. Please renew the API key.';

const templates = new Map<string, ErrorTemplate>();
for (const each of recorded as readonly Recorded[]) {
  const template = templateOf(each);
  if (template !== undefined) templates.set(each.name, template);
}
const invalid = recordedError('key_invalid_json');
templates.set('key_expired', {
  ...invalid,
  body: mapStrings(invalid.body, (text) => (text.startsWith('API key not valid') ? EXPIRED : text)),
});

/** The names that `{ error: name }` takes: those of errors.json that HTTP can carry, and `key_expired`. */
export const errorNames: readonly string[] = [...templates.keys()];

export function errorTemplate(error: string | CustomError): ErrorTemplate {
  if (typeof error === 'string') return recordedError(error);
  if (!Number.isInteger(error.status) || error.status < 200 || error.status > 599) {
    throw new TypeError(`error.status is ${String(error.status)}; it must be a whole number from 200 to 599`);
  }
  const wire = typeof error.body === 'string' ? 'html' : 'json';
  return { status: error.status, body: error.body, wire, reach: reachOf(error.status, '') };
}

/** The recorded body with this answer's key, project, model and file in place of the recorded ones. */
export function fill(template: ErrorTemplate, context: ErrorContext): ErrorTemplate {
  const { apiKey, project, model, fileId } = context;
  const body = mapStrings(template.body, (text) => {
    let filled = text;
    if (apiKey !== undefined) filled = filled.replaceAll('AIzaSyFAKE000000000000000000', () => apiKey);
    if (project !== undefined) filled = filled.replaceAll(/\b1000000000\d\d\b|\bdemo-fake\b/g, () => project);
    if (model !== undefined) filled = filled.replaceAll(/\bgemini-(?:\d|embedding-)[\w.-]*\w/g, () => model);
    if (fileId !== undefined) filled = filled.replaceAll('abc123fake', () => fileId);
    return filled;
  });
  return { ...template, body };
}

/** A recorded JSON error with another message, for what Gemini says in its own words about this request. */
export function withMessage(name: string, message: string): ErrorTemplate {
  const template = recordedError(name);
  const { error } = template.body as { error: { code: number; status: string } };
  return { ...template, body: { error: { code: error.code, message, status: error.status } } };
}

export function recordedError(name: string): ErrorTemplate {
  const template = templates.get(name);
  if (template === undefined) {
    throw new TypeError(`error ${JSON.stringify(name)} is none of ${[...templates.keys()].join(', ')}`);
  }
  return template;
}

function templateOf({ name, http_status, body, shape, expected }: Recorded): ErrorTemplate | undefined {
  const reach = reachOf(http_status, expected.scope);
  switch (shape) {
    case 'live-close':
      return undefined;
    case 'js-error':
      // Not bodies but what the client throws: here is what makes it throw them.
      if (name === 'network_fetch_failed') return { status: 0, body: '', wire: 'cut', reach: 'everything' };
      if (name === 'client_timeout_abort') return { status: 0, body: '', wire: 'silence', reach: 'everything' };
      return { status: 500, body: '', wire: 'brokenJson', reach: 'everything' };
    case 'sdk-nested':
      return { status: http_status, body: (body as { error: { message: string } }).error.message, wire: 'text', reach };
    case 'sdk-midstream':
      return {
        status: http_status,
        body: JSON.parse(String(body).replace(/^got status: \w+\. /, '')),
        wire: 'stream',
        reach,
      };
    default:
      return { status: http_status, body, wire: typeof body === 'string' ? 'html' : 'json', reach };
  }
}

function reachOf(status: number, scope: string): ErrorTemplate['reach'] {
  if (status === 429) return 'generation';
  if (scope === 'PROJECT_MODEL' || status === 200 || status >= 404) return 'modelCalls';
  return 'everything';
}

function mapStrings(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) return value.map((each) => mapStrings(each, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, mapStrings(each, change)]));
}
