import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { grpcReference, REFERENCE } from '../../scripts/grpc-reference.ts';

const reference = readFileSync(REFERENCE, 'utf8');

test('docs/grpc-api.md is what npm run grpc-reference would write', () => {
  expect(reference).toBe(grpcReference());
});

test('docs/grpc-api.md says of streams, lists, maps and alternatives that they are such', () => {
  const lines = reference.replaceAll(/ +/g, ' ');
  expect(lines).toContain('| Session | stream [SessionRequest](#sessionrequest) | stream [SessionResponse]');
  expect(lines).toContain('| WatchHealth | [WatchHealthRequest](#watchhealthrequest) | stream [WatchHealth');
  expect(lines).toContain('| `leases` | repeated [Lease](#lease) |');
  expect(lines).toContain('| `labels` | map of string to string |');
  expect(lines).toMatch(/\| `response` \| \[ReportResultResponse\]\(#reportresultresponse\) \| One of `result`\./);
});
