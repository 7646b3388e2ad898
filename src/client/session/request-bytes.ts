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
 * `idOf` gives an operation its correlation id.
 */
export function messagesOf(
  operations: readonly Operation[],
  idOf: (operation: Operation) => bigint,
): { messages: Buffer[]; tooLarge: [bigint, Operation][] } {
  const messages: Buffer[] = [];
  const tooLarge: [bigint, Operation][] = [];
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
    const bytes = operation.encoded(id);
    if (bytes.length > LARGEST_OPERATION) {
      tooLarge.push([id, operation]);
      continue;
    }
    if (count === MOST_OPERATIONS || size + bytes.length > MOST_BYTES) close();
    parts.push(head(bytes.length), bytes);
    count++;
    size += bytes.length;
  }
  close();
  return { messages, tooLarge };
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
