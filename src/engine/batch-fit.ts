import { KeyReuse } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** What BatchGetKeys asks for: a batch for each size. */
export interface Batches {
  readonly sizes: readonly number[];
  readonly reuse: KeyReuse;
  /** Batches may be short. */
  readonly partial: boolean;
}

/** Whether keys with room for so many more leases each (Infinity: any number) can fill all batches. */
export function fits({ sizes, reuse }: Batches, rooms: Iterable<number>): boolean {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (reuse === KeyReuse.UNIQUE_IN_BATCH) return fitsUniqueInBatch(sizes, rooms);
  let sum = 0;
  for (const room of rooms) {
    sum += reuse === KeyReuse.UNIQUE ? Math.min(room, 1) : room;
    if (sum >= total) return true;
  }
  return false;
}

/** Gale and Ryser: it can be done just when, for each k, the k largest batches need no more than all keys give, at most k each. */
function fitsUniqueInBatch(sizes: readonly number[], rooms: Iterable<number>): boolean {
  const largestFirst = sizes.toSorted((a, b) => b - a);
  const count = sizes.length;
  // keysWith[r]: keys with room for r leases, or for at least one in each batch.
  const keysWith = new Array<number>(count + 1).fill(0);
  for (const room of rooms) {
    const index = Math.min(room, count);
    keysWith[index]!++;
    if (index === count && keysWith[count]! >= largestFirst[0]!) return true;
  }
  let atLeast = keysWith.reduce((a, b) => a + b, 0) - keysWith[0]!;
  let given = 0;
  let needed = 0;
  for (let k = 1; k <= count; k++) {
    given += atLeast;
    needed += largestFirst[k - 1]!;
    if (needed > given) return false;
    atLeast -= keysWith[k]!;
  }
  return true;
}
