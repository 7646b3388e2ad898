type Row = readonly string[];

/** A table in Markdown, its columns as wide as their widest cell, as the formatter wants them. */
export function markdownTable(head: Row, rows: readonly Row[]): string {
  // A rule of fewer dashes would be none.
  const widths = head.map((title, column) => Math.max(3, title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: Row): string => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |\n`;
  return [head, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('');
}
