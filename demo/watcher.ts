// The demo's watcher, in a process of its own: subscribes to WatchHealth and passes on what it hears.
import { connect } from '../src/client/index.ts';
import { watchedKey } from './health.ts';
import type { FromWatcher, WatchedKey } from './messages.ts';

const address = process.argv[2]!;

process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());

const balancer = await connect({ address });
const snapshot: WatchedKey[] = [];
for await (const { event } of balancer.watchHealth({ pools: ['default'] })) {
  if (event.case === 'snapshot') {
    snapshot.push(...event.value.keys.map(watchedKey));
    if (!event.value.more) tell({ type: 'snapshot', keys: snapshot.splice(0) });
  } else if (event.case === 'change' && event.value.key !== undefined) {
    tell({ type: 'change', keys: [watchedKey(event.value.key)] });
  }
}

function tell(message: FromWatcher): void {
  process.send?.(message);
}
