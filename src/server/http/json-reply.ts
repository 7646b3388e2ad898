import type { ServerResponse } from 'node:http';

/** A refusal that no service function made, in the shape of Connect's errors, so that its clients can read it. */
export interface Refusal {
  status: number;
  /** As Connect spells codes, such as "permission_denied". */
  code: string;
  message: string;
  headers?: Record<string, string>;
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

export function sendRefusal(response: ServerResponse, { status, code, message, headers }: Refusal): void {
  sendJson(response, status, { code, message }, headers);
}
