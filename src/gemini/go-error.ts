import { httpStatusOfName } from './rpc-status.ts';

/** An error as Go's libraries write it. */
export interface GoError {
  httpStatus: number;
  /** google.rpc.Code name; "": not said. */
  status: string;
  /** The message, perhaps with details behind it. */
  text: string;
}

/** google.golang.org/genai: "Error 429, Message: ..., Status: RESOURCE_EXHAUSTED, Details: [...]". */
const GENAI = /^Error ([45]\d\d), Message: /;
const BEHIND_GENAI = /^, Status: ([A-Za-z_ ]{0,40}), Details: /;
/** google.golang.org/api: "googleapi: Error 429: ..., rateLimitExceeded". */
const GOOGLEAPI = /^googleapi: Error ([45]\d\d): /;
const BEHIND_GOOGLEAPI = /, [a-z][A-Za-z]{2,60}$/;
/** google.golang.org/grpc: "rpc error: code = ResourceExhausted desc = ...". */
const GRPC = /^rpc error: code = ([A-Z][A-Za-z]{1,20}) desc = /;
/** What gRPC itself says where no answer came: its code is none of Gemini's. */
const NO_ANSWER =
  /^(?:"?transport: |connection error|error reading from server|name resolver error|the (?:client )?connection is|grpc: |unexpected HTTP status|last (?:connection|resolver) error)/;

/** Undefined: the text does not begin as such an error does. */
export function goError(text: string): GoError | undefined {
  const genai = GENAI.exec(text);
  if (genai !== null) {
    // The last, as a message may repeat what was sent.
    const end = text.lastIndexOf(', Status: ');
    const behind = end < genai[0].length ? null : BEHIND_GENAI.exec(text.slice(end));
    return {
      httpStatus: Number(genai[1]),
      status: behind?.[1] ?? '',
      text: text.slice(genai[0].length, behind === null ? undefined : end),
    };
  }
  const googleapi = GOOGLEAPI.exec(text);
  if (googleapi !== null) {
    const message = text.slice(googleapi[0].length);
    return { httpStatus: Number(googleapi[1]), status: '', text: withoutReason(message) };
  }
  const grpc = GRPC.exec(text);
  if (grpc === null) return undefined;
  const status = grpc[1] === 'Canceled' ? 'CANCELLED' : grpc[1]!.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
  const httpStatus = httpStatusOfName(status);
  const message = text.slice(grpc[0].length);
  return httpStatus < 400 || NO_ANSWER.test(message) ? undefined : { httpStatus, status, text: message };
}

/** Looked for in the last characters alone, so that it takes linear time. */
function withoutReason(message: string): string {
  const tail = message.slice(-64);
  return message.slice(0, message.length - tail.length) + tail.replace(BEHIND_GOOGLEAPI, '');
}
