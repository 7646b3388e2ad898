import { create } from '@bufbuild/protobuf';
import { type ProviderError, ProviderErrorSchema } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { judge } from './classify.ts';
import { stringEnd } from './json.ts';
import { LOOKED_AT, openBody } from './open-body.ts';

/** So much of a pasted text is searched for an error, in UTF-16 units. */
const SEARCHED = 256 * 1024;
const MOST_JSON_STARTS = 32;
const MOST_LINES = 64;
const MOST_BEGINNINGS = 8;

/**
 * Finds the error in what a person pasted: a body, an error with its stack trace, the answer that `curl -i` shows, lines of a log.
 * Given an HTTP status, that one counts; else what the text says of it.
 */
export function pastedError(pasted: string, httpStatus: number): ProviderError {
  const { body, status, retryAfter } = withoutHeaders(pasted.slice(0, SEARCHED));
  const known = {
    httpStatus: httpStatus || status,
    retryDelay: retryAfter === undefined ? undefined : { seconds: BigInt(retryAfter) },
  };
  const json = jsonIn(body);
  if (json !== undefined) return create(ProviderErrorSchema, { ...known, body: json });
  known.httpStatus ||= statusInWords(body);
  const bare = judge(create(ProviderErrorSchema, known)).rule.name;
  for (const { message, closeCode } of beginnings(body)) {
    const error = create(ProviderErrorSchema, { ...known, message, closeCode });
    const rule = judge(error).rule.name;
    if (rule !== 'unknown' && rule !== bare) return error;
  }
  return create(ProviderErrorSchema, { ...known, body: body.slice(0, LOOKED_AT) });
}

interface Answer {
  body: string;
  /** 0: the text has no status line. */
  status: number;
  /** Seconds. */
  retryAfter: number | undefined;
}

const STATUS_LINE = /^(?:< )?HTTP\/\d(?:\.\d)? (\d{3})\b/;
const HEADER = /^(?:< )?([A-Za-z0-9-]{1,60}): ?(.{0,1000})/;
/** What `curl -v` says besides: its own words and the request. */
const BESIDES = /^(?:[*>] |[{}] \[|<\s*$)/;

/** The last answer of `curl -i` or `curl -v`, after those of proxies and redirections. */
function withoutHeaders(text: string): Answer {
  const lines = text.split(/\r?\n/);
  const start = lines.findLastIndex((line) => STATUS_LINE.test(line));
  if (start === -1) return { body: text, status: 0, retryAfter: undefined };
  let retryAfter: number | undefined;
  let at = start + 1;
  for (; at < lines.length; at++) {
    const header = HEADER.exec(lines[at]!);
    if (header === null) break;
    if (header[1]!.toLowerCase() === 'retry-after' && /^\d{1,9}$/.test(header[2]!.trim()))
      retryAfter = Number(header[2]);
  }
  const body = lines.slice(at).filter((line) => !BESIDES.test(line));
  return { body: body.join('\n'), status: Number(STATUS_LINE.exec(lines[start]!)![1]), retryAfter };
}

/** Where an error may begin, also within a string of JSON, or of JSON in a string of JSON: with escaped quotation marks. */
const JSON_START =
  /[{[]\s{0,20}(?:\{\s{0,20})?\\{0,7}["'](?:error|errors|message|code|status|candidates|promptFeedback|event_type)\\{0,7}["']/g;

/** A text whose beginning openBody understands as an error that says more than words; undefined: there is none. */
function jsonIn(text: string): string | undefined {
  if (saysEnough(text)) return text;
  let tries = 0;
  for (const { index } of text.matchAll(JSON_START)) {
    if (tries++ === MOST_JSON_STARTS) break;
    const found = unescaped(text.slice(index, index + 2 * LOOKED_AT));
    if (saysEnough(found)) return found;
  }
  return undefined;
}

function saysEnough(text: string): boolean {
  const { errors, answer, closeCode } = openBody(text);
  return (
    answer !== undefined ||
    closeCode !== 0 ||
    errors.some(({ code, status, details }) => code !== undefined || status !== undefined || details !== undefined)
  );
}

/** The JSON itself, where its quotation marks were escaped. */
function unescaped(text: string): string {
  let json = text;
  for (let depth = 0; depth < 3 && /^[{[]\s{0,20}(?:\{\s{0,20})?\\/.test(json); depth++) {
    const end = stringEnd(`"${json}`, 0);
    const content = end === -1 ? json.replace(/\\+$/, '') : json.slice(0, end - 1);
    try {
      json = JSON.parse(`"${content}"`);
    } catch {
      return text;
    }
  }
  return json;
}

const STATUS_IN_WORDS =
  /\b(?:HTTP(?:\/\d(?:\.\d)?)?|[Ss]tatus(?: ?[Cc]ode)?|[Ee]rror [Cc]ode|code)["']?[ :=(]{1,3}([45]\d\d)\b|\b([45]\d\d) (?:[A-Z][a-z]|[A-Z_]{4})/;

function statusInWords(text: string): number {
  const found = STATUS_IN_WORDS.exec(text);
  return found === null ? 0 : Number(found[1] ?? found[2]);
}

const CLOSE_CODE = /\bclos(?:e|ed|ure|ing)\b[^\d\n]{0,40}\b(1\d{3})\b[\s),:.-]{0,5}(?:reason[ :=]{1,3})?/i;
/** Behind these, a line of a log says what it has to say. */
const SEPARATOR = /: |\] |\| | - |\) |"|\b[45]\d\d /g;

/** Where in the lines a message may begin: up to the end of the text, as messages may have lines, then of the line. */
function* beginnings(text: string): Generator<{ message: string; closeCode: number }> {
  const closed = CLOSE_CODE.exec(text);
  if (closed !== null) {
    yield { message: lineAt(text, closed.index + closed[0].length), closeCode: Number(closed[1]) };
  }
  let start = 0;
  for (let lines = 0; lines < MOST_LINES && start < text.length; lines++) {
    const line = lineAt(text, start);
    const offsets = [
      0,
      ...[...line.slice(0, 2000).matchAll(SEPARATOR)].map(({ index, 0: mark }) => index + mark.length),
    ];
    for (const offset of offsets.slice(0, MOST_BEGINNINGS)) {
      yield { message: text.slice(start + offset, start + offset + LOOKED_AT), closeCode: 0 };
      yield { message: line.slice(offset, offset + LOOKED_AT).replace(/["'\])}]{1,5}$/, ''), closeCode: 0 };
    }
    start += line.length + 1;
  }
}

function lineAt(text: string, start: number): string {
  const end = text.indexOf('\n', start);
  return end === -1 ? text.slice(start) : text.slice(start, end);
}
