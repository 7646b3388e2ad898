import { goError } from './go-error.ts';
import { isObject, type JsonObject, parseJson } from './json.ts';
import { pythonAsJson } from './python-literal.ts';
import { GENERATION_CODES, httpStatusOfName, isRpcCode } from './rpc-status.ts';
import { detailsOfTextFormat } from './text-format.ts';

/** At most so much of a body is looked at, in UTF-16 units. */
export const LOOKED_AT = 16 * 1024;
/** JSON within a string within JSON: the deepest that is still opened. */
const DEEPEST_STRING = 4;
/** Arrays and objects around the error. */
const MOST_WRAPPINGS = 16;

/** What was found in an error body. */
export interface OpenedBody {
  /** The error objects, each wrapped in the one before it: the last is Gemini's own. */
  errors: JsonObject[];
  /** Whether an object said `error`, and not just something that has a message. */
  named: boolean;
  /** An answer of generateContent: no error, but perhaps a blocked one. */
  answer: JsonObject | undefined;
  /** The innermost message, or the body itself where it is no JSON; without its prefix. */
  text: string;
  /** What a prefix of the text said; 0: nothing. */
  httpStatus: number;
  closeCode: number;
}

/**
 * Finds the error in a body, whatever wraps it: an array, `{"error": ...}`, JSON in the message of an error (as @google/genai
 * makes of an answer whose content type is not JSON), `got status: UNAVAILABLE. {...}`, lines of an event stream.
 */
export function openBody(body: string): OpenedBody {
  const opened: OpenedBody = { errors: [], named: false, answer: undefined, text: '', httpStatus: 0, closeCode: 0 };
  let value: unknown = body.slice(0, LOOKED_AT);
  let strings = 0;
  let within = false;
  for (let wrapping = 0; wrapping < MOST_WRAPPINGS; wrapping++) {
    if (typeof value === 'string') {
      const text = withoutPrefix(value, opened);
      opened.text = text;
      if (strings++ === DEEPEST_STRING) break;
      value = readText(text);
    } else if (Array.isArray(value)) {
      value = mostTelling(value);
    } else if (!isObject(value)) {
      break;
    } else if (typeof value.error === 'object' || typeof value.error === 'string') {
      // Where the error is a mere word, as OAuth has it, the object around it is all there is.
      if (typeof value.error === 'string') opened.errors.push({ message: value.error, ...value });
      value = value.error;
      opened.named = true;
      within = true;
    } else if (within || 'message' in value) {
      opened.errors.push(value);
      opened.text = '';
      value = value.message;
      within = false;
      if (typeof value === 'string' && mayEcho(opened.errors.at(-1)!)) {
        opened.text = value.trimStart();
        break;
      }
    } else {
      if ('candidates' in value || 'promptFeedback' in value) {
        opened.answer = value;
        opened.text = '';
      }
      break;
    }
  }
  return opened;
}

/**
 * Whether the message is Gemini's own about a bad request, and so may repeat the request: JSON in it is none of Gemini's. What
 * wraps such an error, as @google/genai does, has a reason phrase of HTTP as its status.
 */
function mayEcho({ code, status, details }: JsonObject): boolean {
  if (typeof code === 'string') return httpStatusOfName(code) === 400 || GENERATION_CODES.has(code);
  return (
    (code === 400 || code === undefined) &&
    ((typeof status === 'string' && isRpcCode(status) && httpStatusOfName(status) === 400) || Array.isArray(details))
  );
}

/** "ApiError: ", "got status: UNAVAILABLE. " (SDK, in the middle of a stream), "429 RESOURCE_EXHAUSTED. " (Python), before JSON. */
const BEFORE_JSON =
  /^(?:(?:\w{1,40}\.){0,6}[A-Z]\w{1,40}: )?(?:got status: [^.{[\n]{1,60}\. |([1-5]\d\d) [A-Za-z_ ]{2,40}[.:] |Error code: ([1-5]\d\d) - )?(?=[{[])/;
const LIVE_CLOSED = /^(?:Error: )?Live connection closed before setup completed \(code (\d{1,5})\): /;
/** How Python's websockets write it: "received 1008 (policy violation) <reason>; then sent ...". */
const PYTHON_CLOSED =
  /^(?:(?:\w{1,40}\.){0,6}[A-Z]\w{1,40}: )?(?:received )?(1\d{3}|[34]\d{3}) \((?:[a-z ]{1,40})\) ([^;]{0,200})(?:; then sent |$)/;
/** How a live session's reason may begin. */
const TRACE_ID = /^Request trace id: [^\s:]{1,80}: /;
/** How the SDK's interactions write an error: "429 You exceeded ...", and Python: "429 RESOURCE_EXHAUSTED. You exceeded ...". */
const STATUS_BEFORE_TEXT = /^(?:(?:\w{1,40}\.){0,6}[A-Z]\w{1,40}: )?([45]\d\d) (?:[A-Z_]{5,20}[.:] )?(?=\S)/;
/** How the SDK before @google/genai wrote it. */
const STATUS_IN_BRACKETS =
  /^(?:[A-Za-z]{1,40}: )?\[GoogleGenerativeAI Error\]: (?:Error fetching from \S{1,500} )?\[([45]\d\d) [^\]\n]{0,60}\] /;
const LIVE_REFUSED =
  /^(?:Error: )?Live connection failed before setup completed: (?:Unexpected server response: (\d{3}))?/;
const HTML_STATUS = /^<[^>]{0,200}>\s{0,9}(?:<[^>]{0,200}>\s{0,9}){0,9}(?:Error )?([45]\d\d)\b/;

/** A body that Python printed. */
const PYTHON = /^\[?\s{0,20}\{\s{0,20}'/;

function withoutPrefix(text: string, opened: OpenedBody): string {
  const trimmed = text.trimStart();
  const closed = LIVE_CLOSED.exec(trimmed);
  if (closed !== null) {
    opened.closeCode = Number(closed[1]);
    return trimmed.slice(closed[0].length).replace(TRACE_ID, '');
  }
  const older = STATUS_IN_BRACKETS.exec(trimmed);
  if (older !== null) return withoutDetails(trimmed.slice(older[0].length), Number(older[1]), opened);
  const json = BEFORE_JSON.exec(trimmed);
  if (json !== null) {
    // For a body that is none, as it was cut or left out.
    opened.httpStatus ||= Number(json[1] ?? json[2] ?? 0);
    return trimmed.slice(json[0].length);
  }
  const closedInPython = PYTHON_CLOSED.exec(trimmed);
  if (closedInPython !== null) {
    opened.closeCode = Number(closedInPython[1]);
    return closedInPython[2]!.replace(TRACE_ID, '');
  }
  const go = goError(trimmed);
  if (go !== undefined) {
    if (go.status !== '') opened.errors.push({ status: go.status });
    return withoutDetails(go.text, go.httpStatus, opened);
  }
  const status = STATUS_BEFORE_TEXT.exec(trimmed) ?? LIVE_REFUSED.exec(trimmed);
  if (status !== null) {
    if (status[1] !== undefined) return withoutDetails(trimmed.slice(status[0].length), Number(status[1]), opened);
    opened.httpStatus = 0;
    return trimmed;
  }
  if (trimmed.startsWith('<')) opened.httpStatus ||= Number(HTML_STATUS.exec(trimmed)?.[1] ?? 0);
  return trimmed.replace(TRACE_ID, '');
}

/** How older clients and Go's begin the details behind a message: as JSON, or in the text format of Protocol Buffers. */
const DETAILS_BEHIND =
  /(?: |\nDetails:\n)\[(?:(\s{0,9}\{\s{0,9}"@type":)|(?:reason: "|violations \{|links \{|retry_delay \{|metadata \{))/;

/** What is behind the message of a bad request may be what the request said, and is only left out. */
function withoutDetails(text: string, status: number, opened: OpenedBody): string {
  opened.httpStatus = status;
  const behind = DETAILS_BEHIND.exec(text);
  if (behind === null) return text;
  if (status !== 400) {
    const details = text.slice(text.indexOf('[', behind.index));
    opened.errors.push({
      details: behind[1] === undefined ? [detailsOfTextFormat(details)] : parseJson(details),
    });
  }
  return text.slice(0, behind.index);
}

function readText(text: string): unknown {
  if (PYTHON.test(text)) return parseJson(pythonAsJson(text));
  if (text.startsWith('{') || text.startsWith('[') || text.startsWith('"')) return parseJson(text);
  return /^(?:data|event|id|retry)?:/.test(text) ? readEvents(text) : undefined;
}

function readEvents(text: string): unknown {
  return text
    .split(/\r\n|\r|\n/)
    .filter((line) => line.startsWith('data:'))
    .map((line) => parseJson(line.slice('data:'.length).trim()))
    .filter((event) => event !== undefined);
}

/** Of the chunks of a stream: an error, else the one that says how the answer ended, else the last. */
function mostTelling(chunks: readonly unknown[]): unknown {
  return chunks.findLast(isError) ?? chunks.findLast(isEnd) ?? chunks.at(-1);
}

function isError(chunk: unknown): boolean {
  return Array.isArray(chunk) || (isObject(chunk) && 'error' in chunk);
}

function isEnd(chunk: unknown): boolean {
  if (!isObject(chunk)) return false;
  const { candidates } = chunk;
  return (
    isObject(chunk.promptFeedback) ||
    (Array.isArray(candidates) && candidates.some((candidate) => isObject(candidate) && 'finishReason' in candidate))
  );
}
