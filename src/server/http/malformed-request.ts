import { createAsyncIterable, type UniversalHandler, type UniversalServerResponse } from '@connectrpc/connect/protocol';

interface ErrorBody {
  code?: string;
  message?: string;
  details?: unknown[];
}

/**
 * An answer without what it quotes of a request that could not be read. The parsers of JSON and of messages quote what they did not expect,
 * such as `{"keys": ["KEY"]}` in place of `{"keys": [{"apiKey": "KEY"}]}`: a secret that then stands in the caller's log.
 * Refusals of service functions are known by their details, and quote no secret.
 */
export async function withoutQuotedInput(
  { method }: UniversalHandler,
  answer: UniversalServerResponse,
): Promise<UniversalServerResponse> {
  const { header, body } = answer;
  if (method.methodKind !== 'unary' || answer.status !== 400 || body === undefined) return answer;
  if (header?.get('content-type') !== 'application/json') return answer;
  const sent: Uint8Array[] = [];
  for await (const chunk of body) sent.push(chunk);
  const error = JSON.parse(Buffer.concat(sent).toString()) as ErrorBody;
  const message = error.details === undefined ? unquoted(error.message ?? '') : error.message;
  const bytes = Buffer.from(JSON.stringify({ ...error, message }));
  header.set('content-length', String(bytes.length));
  return { ...answer, body: createAsyncIterable([bytes]) };
}

/** A field's name is worth telling; nothing that looks like one is a key. */
const UNKNOWN_FIELD = /^(.*key )"([A-Za-z_]{1,30})" is unknown$/s;

/** All between the first quotation mark and the last may come from the request. */
export function unquoted(message: string): string {
  const unknown = UNKNOWN_FIELD.exec(message);
  if (unknown?.[1]?.includes('"') === false) return message;
  return message.replace(/".*"/s, '"…"');
}
