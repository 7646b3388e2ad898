/** A resource as the API shows it. */
export interface Resource {
  name: string;
  [field: string]: unknown;
}

/** Caches, batches and whatever else lives in the project that made it, by name. */
export class OwnedStore {
  readonly #owned = new Map<string, { project: string; resource: Resource }>();
  readonly #now: () => number;
  #made = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A name in the collection that is not taken. */
  newName(collection: string): string {
    this.#made += 1;
    return `${collection}/fake${String(this.#made).padStart(8, '0')}`;
  }

  /** The time as the API writes it, some milliseconds from now. */
  time(inMs = 0): string {
    return new Date(this.#now() + inMs).toISOString();
  }

  put(project: string, resource: Resource): Resource {
    this.#owned.set(resource.name, { project, resource });
    return resource;
  }

  /** undefined when there is none of that name, or it is another project's. */
  get(name: string | undefined, project: string): Resource | undefined {
    const found = this.#owned.get(name ?? '');
    return found?.project === project ? found.resource : undefined;
  }

  list(collection: string, project: string): Resource[] {
    const all = [...this.#owned.values()].filter((each) => each.project === project);
    return all.map(({ resource }) => resource).filter(({ name }) => isOf(collection, name));
  }

  delete(name: string): void {
    this.#owned.delete(name);
  }
}

/** Not what lies deeper, such as the operations of a store. */
function isOf(collection: string, name: string): boolean {
  return name.startsWith(`${collection}/`) && !name.slice(collection.length + 1).includes('/');
}
