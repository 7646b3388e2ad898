import { toBinary } from '@bufbuild/protobuf';
import { SessionRequestSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Operation } from './operation.ts';

/** Operations and bytes of one message; a server takes 4 MiB. */
const MOST_OPERATIONS = 1_000;
const MOST_BYTES = 1024 * 1024;
const LARGEST_OPERATION = 3 * 1024 * 1024;

/** Of `operations`, in SessionRequest. */
const TAG = (1 << 3) | 2;

/**
 * The operations as encoded SessionRequests. Each is encoded by itself, so that its size is known before it is too late.
 * `idOf` gives an operation its correlation id. `unfit`: what is too large for any message, or no message at all.
 */
export function messagesOf(
  operations: readonly Operation[],
  idOf: (operation: Operation) => bigint,
): { messages: Buffer[]; unfit: [bigint, Operation][] } {
  const messages: Buffer[] = [];
  const unfit: [bigint, Operation][] = [];
  let parts: Uint8Array[] = [];
  let count = 0;
  let size = 0;
  const close = (): void => {
    if (count > 0) messages.push(Buffer.concat(parts));
    parts = [];
    count = 0;
    size = 0;
  };
  for (const operation of operations) {
    const id = idOf(operation);
    const bytes = encoded(operation, id);
    if (bytes === undefined) {
      unfit.push([id, operation]);
      continue;
    }
    if (count === MOST_OPERATIONS || size + bytes.length > MOST_BYTES) close();
    parts.push(head(bytes.length), bytes);
    count++;
    size += bytes.length;
  }
  close();
  return { messages, unfit };
}

function encoded(operation: Operation, id: bigint): Uint8Array | undefined {
  try {
    const bytes = operation.encoded(id);
    return bytes.length > LARGEST_OPERATION ? undefined : bytes;
  } catch {
    // Such as a number out of its range.
    return undefined;
  }
}

/** A message that gives up the operation of that id. */
export function cancelBytes(correlationId: bigint, targetCorrelationId: bigint): Buffer {
  const operation = {
    case: 'cancel' as const,
    value: { $typeName: 'keybalancer.v1.CancelOperation' as const, targetCorrelationId },
  };
  return Buffer.from(
    toBinary(SessionRequestSchema, {
      $typeName: 'keybalancer.v1.SessionRequest',
      operations: [{ $typeName: 'keybalancer.v1.Operation', correlationId, operation }],
    }),
  );
}

/** The tag of an operation, and its length as a varint. */
function head(length: number): Uint8Array {
  const bytes = [TAG];
  let rest = length;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}
