import { LRUCache } from 'lru-cache';
import type { Lease } from '../../gen/keybalancer/v1/keybalancer_pb.ts';

/** Where a file, cache, batch, operation or the like lives: any key of the project gets at it. */
export type Origin = Pick<Lease, 'project' | 'keyId'>;

/** Resources that are remembered; a file of Gemini's lives 48 hours. */
const MOST = 10_000;

/**
 * Which project, or which key where its project is not known, made the resources that were seen. By their names, such as
 * "files/abc". The least recently used are let go: whoever names them then has them looked for.
 */
export class ResourceOrigins {
  readonly #origins: LRUCache<string, Origin>;

  constructor(most = MOST) {
    this.#origins = new LRUCache({ max: most });
  }

  get size(): number {
    return this.#origins.size;
  }

  /** Of the first of them that is known: a request can be made in one project only. */
  of(names: readonly string[]): Origin | undefined {
    for (const name of names) {
      const origin = this.#origins.get(name);
      if (origin !== undefined) return origin;
    }
    return undefined;
  }

  remember(names: Iterable<string>, { project, keyId }: Origin): void {
    const origin = { project, keyId };
    for (const name of names) this.#origins.set(name, origin);
  }

  forget(names: Iterable<string>): void {
    for (const name of names) this.#origins.delete(name);
  }
}
