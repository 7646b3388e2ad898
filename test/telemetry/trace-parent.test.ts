import { Metadata } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { traceParentOf } from '../../src/server/telemetry/trace-parent.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

test.each([
  ['sampled', `00-${TRACE}-${SPAN}-01`, 1],
  ['not sampled', `00-${TRACE}-${SPAN}-00`, 0],
  ['with flags of the future', `00-${TRACE}-${SPAN}-ff`, 1],
  ['of a version of the future', `cc-${TRACE}-${SPAN}-01-what-comes`, 1],
])('a parent that is %s is taken, from HTTP headers and from gRPC metadata', (_, traceparent, traceFlags) => {
  const metadata = new Metadata();
  metadata.set('traceparent', traceparent);
  metadata.set('tracestate', 'vendor=x');
  for (const headers of [new Headers({ traceparent, tracestate: 'vendor=x' }), metadata]) {
    const parent = traceParentOf(headers);
    expect(parent).toMatchObject({ traceId: TRACE, spanId: SPAN, traceFlags, isRemote: true });
    expect(parent?.traceState?.get('vendor')).toBe('x');
  }
});

test.each([
  '',
  'nonsense',
  `00-${TRACE}-${SPAN}`,
  `00-${TRACE}-${SPAN}-01-more`,
  `ff-${TRACE}-${SPAN}-01`,
  `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  `00-${'0'.repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${'0'.repeat(16)}-01`,
  `00-${TRACE}0-${SPAN}-01`,
])('%j is no parent', (traceparent) => {
  expect(traceParentOf(new Headers({ traceparent }))).toBeUndefined();
});

test('a state that is longer than W3C asks for is left out', () => {
  const headers = new Headers({ traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: `a=${'x'.repeat(600)}` });
  expect(traceParentOf(headers)).not.toHaveProperty('traceState');
});
