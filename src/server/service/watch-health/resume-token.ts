import * as fields from '../fields.ts';

/** Up to where a watcher has been told. Opaque to clients. */
export interface ResumePoint {
  /** Name of the stream of revisions: of the store, and of a new one after a crash. */
  storeId: string;
  revision: number;
  /** Of the filters: with others, another picture. */
  filters: string;
  /** Of the pools that the watcher knows to be without available keys. */
  exhausted: string;
}

const VERSION = 1;
const LONGEST = 1024;

export function resumeToken({ storeId, revision, filters, exhausted }: ResumePoint): string {
  return Buffer.from(JSON.stringify([VERSION, storeId, revision, filters, exhausted])).toString('base64url');
}

/** INVALID_ARGUMENT for what no server ever gave. */
export function parseResumeToken(token: string): ResumePoint {
  const point = token.length <= LONGEST ? read(token) : undefined;
  // Comparing whole tokens refuses also what a lenient base64 decoder would have let pass.
  if (point !== undefined && resumeToken(point) === token) return point;
  throw fields.refused('resume_token', token, 'the resume_token of a WatchHealthResponse, unchanged, or empty');
}

function read(token: string): ResumePoint | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(token, 'base64url').toString());
  } catch {
    return undefined;
  }
  if (!Array.isArray(parts) || parts[0] !== VERSION) return undefined;
  const [, storeId, revision, filters, exhausted] = parts as unknown[];
  if (typeof storeId !== 'string' || typeof filters !== 'string' || typeof exhausted !== 'string') return undefined;
  if (typeof revision !== 'number' || !Number.isSafeInteger(revision) || revision < 0) return undefined;
  return { storeId, revision, filters, exhausted };
}
