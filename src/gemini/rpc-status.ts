/** google.rpc.Code by number (the index), with the HTTP status that Google maps it to. */
const CODES: readonly (readonly [name: string, httpStatus: number])[] = [
  ['OK', 200],
  ['CANCELLED', 499],
  ['UNKNOWN', 500],
  ['INVALID_ARGUMENT', 400],
  ['DEADLINE_EXCEEDED', 504],
  ['NOT_FOUND', 404],
  ['ALREADY_EXISTS', 409],
  ['PERMISSION_DENIED', 403],
  ['RESOURCE_EXHAUSTED', 429],
  ['FAILED_PRECONDITION', 400],
  ['ABORTED', 409],
  ['OUT_OF_RANGE', 400],
  ['UNIMPLEMENTED', 501],
  ['INTERNAL', 500],
  ['UNAVAILABLE', 503],
  ['DATA_LOSS', 500],
  ['UNAUTHENTICATED', 401],
];

/** The string codes of the Interactions API that are not google.rpc names in lower case. */
const INTERACTIONS: readonly (readonly [code: string, httpStatus: number])[] = [
  ['invalid_request', 400],
  ['parameter_unknown', 400],
  ['authentication', 401],
  ['payment_required', 402],
  ['model_not_found', 404],
  ['out_of_range', 416],
  ['rate_limit_exceeded', 429],
  ['quota_exceeded', 429],
  ['too_many_requests', 429],
  ['api_error', 500],
  ['internal_error', 500],
  ['server_error', 500],
  ['overloaded', 503],
  ['service_unavailable', 503],
];

/** The Interactions API's codes for an answer that was blocked, or that came out wrong: those of finishReason in lower case. */
export const GENERATION_CODES: ReadonlySet<string> = new Set([
  'safety',
  'recitation',
  'language',
  'prohibited_content',
  'spii',
  'blocklist',
  'image_safety',
  'image_prohibited_content',
  'image_recitation',
  'image_other',
  'content_blocked',
  'malformed_function_call',
  'malformed_tool_call',
  'unexpected_tool_call',
  'too_many_tool_calls',
  'missing_thought_signature',
  'no_image',
]);

const BY_NAME = new Map([
  ...CODES,
  ...CODES.map(([name, httpStatus]) => [name.toLowerCase(), httpStatus] as const),
  ...INTERACTIONS,
]);

/** The HTTP status that a google.rpc.Code name or an Interactions code stands for; 0: no such name. */
export function httpStatusOfName(name: string): number {
  return BY_NAME.get(name) ?? 0;
}

/** The HTTP status of an `error.code`: one itself, or a google.rpc.Code number as in a failed operation; 0: neither. */
export function httpStatusOfNumber(code: number): number {
  if (Number.isInteger(code) && code >= 100 && code < 600) return code;
  return code > 0 ? (CODES[code]?.[1] ?? 0) : 0;
}

/** Whether the name is one of google.rpc.Code, not an HTTP reason phrase such as "Too Many Requests". */
export function isRpcCode(name: string): boolean {
  return CODES.some(([code]) => code === name);
}
