import type { Rows } from './journal.ts';
import { TABLES, type Table } from './tables.ts';

/**
 * Rows of one kind as numbers, field by field, row after row; a text is its index in `texts`, null is NaN. Passing objects from
 * thread to thread costs more than storing them does.
 */
export interface PackedRows {
  numbers: Float64Array;
  texts: string[];
}

/** The kinds that every acquire and report writes. */
const PACKED = ['leases', 'turns', 'usage', 'health'] as const;
type PackedKind = (typeof PACKED)[number];

/** Rows as they go to the writer's thread. */
export type PassedRows = Omit<Rows, PackedKind | 'endedLeases'> & {
  packed: { [K in PackedKind]?: PackedRows };
  /** boot, seq, boot, seq ... */
  endedLeases?: Float64Array;
};

const TEXT_FIELDS = new Set(['model', 'caller', 'sessionId']);

/** A kind that is packed: its table, and which of its fields are texts. */
export interface PackedTable {
  kind: PackedKind;
  table: Table;
  texts: readonly boolean[];
}

export const PACKED_TABLES: readonly PackedTable[] = PACKED.map((kind) => {
  const table = TABLES.find((each) => each.rows === kind)!;
  return { kind, table, texts: table.fields.map((field) => TEXT_FIELDS.has(field)) };
});

export function packRows(rows: Rows): PassedRows {
  const { leases, turns, usage, health, endedLeases, ...others } = rows;
  const lists = { leases, turns, usage, health };
  const passed: PassedRows = { ...others, packed: {} };
  for (const packedTable of PACKED_TABLES) {
    const list = lists[packedTable.kind];
    if (list !== undefined && list.length > 0) passed.packed[packedTable.kind] = pack(packedTable, list);
  }
  if (endedLeases !== undefined && endedLeases.length > 0) {
    const pairs = new Float64Array(endedLeases.length * 2);
    for (let i = 0; i < endedLeases.length; i++) {
      pairs[2 * i] = endedLeases[i]!.boot;
      pairs[2 * i + 1] = endedLeases[i]!.seq;
    }
    passed.endedLeases = pairs;
  }
  return passed;
}

/** The values of a row's columns, into an array that is used again. */
export function unpackRow({ texts: isText }: PackedTable, packed: PackedRows, row: number, into: unknown[]): unknown[] {
  const width = isText.length;
  for (let i = 0; i < width; i++) {
    const number = packed.numbers[row * width + i]!;
    into[i] = isText[i] ? packed.texts[number] : Number.isNaN(number) ? null : number;
  }
  return into;
}

function pack({ table: { fields }, texts: isText }: PackedTable, list: readonly object[]): PackedRows {
  const numbers = new Float64Array(list.length * fields.length);
  const texts: string[] = [];
  const indexes = new Map<string, number>();
  let at = 0;
  for (const row of list as readonly Record<string, unknown>[]) {
    for (let i = 0; i < fields.length; i++) {
      const value = row[fields[i]!];
      if (isText[i]) {
        let index = indexes.get(value as string);
        if (index === undefined) {
          index = texts.push(value as string) - 1;
          indexes.set(value as string, index);
        }
        numbers[at++] = index;
      } else {
        numbers[at++] = value === null ? Number.NaN : (value as number);
      }
    }
  }
  return { numbers, texts };
}
