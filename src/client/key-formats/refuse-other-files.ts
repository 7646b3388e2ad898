import { invalidOption } from '../errors.ts';

/** Text has no NUL; so much of the beginning is looked at before anything is imported. */
const SNIFFED = 8_192;

/** How files begin that are given by mistake, and what to do with them. */
const KINDS: readonly { begins: Buffer; is: string; allowed: string }[] = [
  {
    begins: Buffer.from('SQLite format 3'),
    is: 'a SQLite database',
    allowed:
      'a text file with keys; a database of easy-gemini-balance by `keybalancer import --from-easy-gemini-balance`',
  },
  { begins: Buffer.of(0x1f, 0x8b), is: 'compressed by gzip', allowed: 'the file that gunzip makes of it' },
  {
    begins: Buffer.from('PK\u0003\u0004'),
    is: 'a ZIP archive or a spreadsheet',
    allowed: 'a text file; save a spreadsheet as CSV',
  },
  { begins: Buffer.of(0xff, 0xfe), is: 'a text in UTF-16', allowed: 'the same in UTF-8' },
  { begins: Buffer.of(0xfe, 0xff), is: 'a text in UTF-16', allowed: 'the same in UTF-8' },
];

/** Passes a text on, and refuses what is none before any key of it is imported. */
export async function* refuseOtherFiles(
  chunks: AsyncIterable<Uint8Array | string>,
  name: string,
): AsyncGenerator<Uint8Array> {
  let sniffed = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    if (sniffed.length < SNIFFED) {
      sniffed = Buffer.concat([sniffed, bytes.subarray(0, SNIFFED - sniffed.length)]);
      refuse(sniffed, name);
    }
    yield bytes;
  }
}

function refuse(beginning: Buffer, name: string): void {
  for (const { begins, is, allowed } of KINDS) {
    if (beginning.subarray(0, begins.length).equals(begins))
      throw invalidOption('file', `${name}, which is ${is}`, allowed);
  }
  if (beginning.includes(0)) {
    throw invalidOption('file', `${name}, which has NUL bytes`, 'a text in UTF-8 (not binary, not UTF-16)');
  }
}
