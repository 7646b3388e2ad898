import type { MessageInitShape } from '@bufbuild/protobuf';
import type { KeyHistorySchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';

/** A key of a file, with what the file says of it; the rest is the import's to say. */
export interface KeyOfFile {
  /** Secret. */
  apiKey: string;
  weight?: number;
  project?: string;
  models?: string[];
  labels?: Record<string, string>;
  tier?: number;
  maxConcurrentLeases?: number;
  source?: string;
  disabled?: boolean;
  pool?: string;
  history?: MessageInitShape<typeof KeyHistorySchema>;
}

/** What stands at one place of a key file: a key, or why it is none. Problems never quote it. */
export type KeyEntry = { line: number; key: KeyOfFile } | { line: number; problem: string };

/** What a reader of a format is given. */
export interface KeySource {
  chunks: AsyncIterable<Uint8Array>;
  /** What errors call it. */
  name: string;
  /** Told the name of each column, field or variable that means nothing here. */
  ignored: (name: string) => void;
}

/** Reads a file in parts of bounded size. Throws a KeyBalancerError where the rest cannot be read. */
export type KeyReader = (source: KeySource) => AsyncIterable<KeyEntry[]>;
