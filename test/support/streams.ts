import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/engine/clock.ts';
import {
  HealthEventKind,
  type KeyHealth,
  WatchHealthRequestSchema,
  type WatchHealthResponse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { keyHealthMessage } from '../../src/server/service/key-messages.ts';
import type { ServiceContext } from '../../src/server/service/service-context.ts';
import type { CallContext } from '../../src/server/service/service-functions.ts';
import { watchHealth } from '../../src/server/service/watch-health/watch-health.ts';
import { type OwnedStore, openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';

/** A store on a real file. Whoever opens it closes it. */
export function openFileStore(dataDir: string, clock?: Clock): Promise<OwnedStore> {
  return openStore({
    dataDir,
    durability: 'normal',
    masterKey: { value: '0'.repeat(64) },
    ...(clock === undefined ? {} : { clock }),
  });
}

/** What service functions stand on, and the way to drain it. */
export function contextOf(store: Store): ServiceContext & { drain: () => void } {
  const draining = new AbortController();
  return {
    store,
    version: '0.0.0',
    startTime: Date.now(),
    draining: draining.signal,
    open: { watchers: 0, sessions: 0 },
    drain: () => draining.abort(),
  };
}

/** A caller, and the way to make it go away. */
export function caller(timeoutMs?: number): CallContext & { leave: () => void } {
  const controller = new AbortController();
  return { caller: 'local', signal: controller.signal, timeoutMs, leave: () => controller.abort() };
}

/** What of a key watchers are told of every change of. */
export type KeyPicture = Pick<KeyHealth, 'pool' | 'state' | 'weight' | 'cooldowns'>;

function pictureOf({ pool, state, weight, cooldowns }: KeyHealth): KeyPicture {
  return { pool, state, weight, cooldowns: cooldowns.toSorted((a, b) => (a.model < b.model ? -1 : 1)) };
}

/** How the store says that its keys stand. */
export async function truth(store: Store, pool = ''): Promise<Map<string, KeyPicture>> {
  const query = { pool, states: [], project: '', source: '', labels: {}, after: '', limit: 1_000_000 };
  const { items } = await store.listKeys(query);
  return new Map(items.map((key) => [key.keyId, pictureOf(keyHealthMessage(key))]));
}

/** A client of WatchHealth: keeps the picture that the messages give, and the newest token. */
export class Watching {
  readonly call = caller();
  readonly messages: WatchHealthResponse[] = [];
  readonly picture: Map<string, KeyPicture>;
  resumeToken: string;
  /** Messages that make no sense for what came before. */
  readonly oddities: string[] = [];
  /** Whether anything was read yet. */
  asked = false;
  readonly #stream: AsyncGenerator<WatchHealthResponse>;

  constructor(
    context: ServiceContext,
    request: MessageInitShape<typeof WatchHealthRequestSchema> = {},
    before?: Pick<Watching, 'picture' | 'resumeToken'>,
  ) {
    this.picture = new Map(before?.picture);
    this.resumeToken = before?.resumeToken ?? '';
    const full = create(WatchHealthRequestSchema, { ...request, resumeToken: this.resumeToken });
    this.#stream = watchHealth(context, full, this.call);
    onTestFinished(() => this.leave());
  }

  /** One message; undefined: the stream has ended. */
  async next(): Promise<WatchHealthResponse | undefined> {
    this.asked = true;
    const next = await this.#stream.next();
    if (next.done === true) return undefined;
    this.#take(next.value);
    return next.value;
  }

  /** Reads until the stream says there is no more, or the condition holds. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) if ((await this.next()) === undefined) return;
  }

  /** Reads to the end of the snapshot or of what was missed: from then on the token is new. */
  async begin(): Promise<this> {
    await this.until(() => {
      const last = this.messages.at(-1)?.event;
      return last?.case === 'heartbeat' || (last?.case === 'snapshot' && !last.value.more);
    });
    return this;
  }

  /** Reads on by itself. */
  run(): this {
    void this.until(() => false).catch(() => {});
    return this;
  }

  async leave(): Promise<void> {
    this.call.leave();
    await this.#stream.return(undefined);
  }

  get changes() {
    return this.messages.flatMap(({ event }) => (event.case === 'change' ? [event.value] : []));
  }

  #take(message: WatchHealthResponse): void {
    this.messages.push(message);
    if (message.resumeToken !== '') this.resumeToken = message.resumeToken;
    const { event } = message;
    if (event.case === 'snapshot') {
      if (event.value.reset) this.picture.clear();
      for (const key of event.value.keys) this.picture.set(key.keyId, pictureOf(key));
    } else if (event.case === 'change' && event.value.key !== undefined) {
      const { kind, key } = event.value;
      const known = this.picture.has(key.keyId);
      if (known !== (kind !== HealthEventKind.KEY_ADDED)) this.oddities.push(`kind ${kind} of ${key.keyId}`);
      if (kind === HealthEventKind.KEY_REMOVED) this.picture.delete(key.keyId);
      else this.picture.set(key.keyId, pictureOf(key));
    }
  }
}
