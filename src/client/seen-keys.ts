import { hash } from 'node:crypto';

/** Tells a key that comes twice, without keeping keys: about 80 MB for 1,000,000 of them. */
export class SeenKeys {
  readonly #seen = new Set<string>();

  add(apiKey: string): void {
    this.#seen.add(hash('sha256', apiKey, 'binary'));
  }

  has(apiKey: string): boolean {
    return this.#seen.has(hash('sha256', apiKey, 'binary'));
  }
}
