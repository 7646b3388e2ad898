import { stripVTControlCharacters } from 'node:util';
import { type Output, printable } from './output.ts';

export interface Column<Row> {
  title: string;
  /** Text of the cell. */
  value: (row: Row) => string;
  /** Colour of the cell on a terminal. */
  style?: (row: Row) => Parameters<Output['style']>[0] | undefined;
  right?: boolean;
}

/**
 * Columns under their titles: aligned on a terminal; in a pipe separated by tabs, for cut and awk.
 * Widths are those of the first rows it is given, so that a long list can be printed page by page.
 */
export class Table<Row> {
  readonly #output: Output;
  readonly #columns: readonly Column<Row>[];
  #widths: number[] | undefined;

  constructor(output: Output, columns: readonly Column<Row>[]) {
    this.#output = output;
    this.#columns = columns;
  }

  async rows(rows: readonly Row[]): Promise<void> {
    const cells = rows.map((row) => this.#columns.map((column) => this.#text(column.value(row))));
    const titles = this.#columns.map((column) => column.title);
    const lines: string[] = [];
    if (this.#widths === undefined) {
      this.#widths = titles.map((title, i) => Math.max(width(title), ...cells.map((row) => width(row[i] as string))));
      lines.push(this.#output.style('bold', this.#join(titles)));
    }
    for (const [i, row] of cells.entries()) {
      const original = rows[i] as Row;
      lines.push(this.#join(row, (text, column) => this.#styled(column.style?.(original), text)));
    }
    await this.#output.write(`${lines.join('\n')}\n`);
  }

  #text(value: string): string {
    const text = printable(value);
    return this.#output.terminal ? this.#output.shown(text) : text;
  }

  #join(cells: readonly string[], style = (text: string, _column: Column<Row>): string => text): string {
    if (!this.#output.terminal) return cells.join('\t');
    const padded = cells.map((text, i) => {
      const column = this.#columns[i] as Column<Row>;
      const room = ' '.repeat(Math.max(0, (this.#widths?.[i] ?? 0) - width(text)));
      const last = i === cells.length - 1;
      return column.right ? room + style(text, column) : style(text, column) + (last ? '' : room);
    });
    return padded.join('  ');
  }

  #styled(style: ReturnType<NonNullable<Column<Row>['style']>>, text: string): string {
    return style === undefined ? text : this.#output.style(style, text);
  }
}

/** Characters, not bytes or UTF-16 units. */
function width(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}
