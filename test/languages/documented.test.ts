import { expect, onTestFinished, test } from 'vitest';
import { fencesOf } from '../docs/markdown.ts';
import { runBlocks } from '../docs/run-blocks.ts';
import { startFakeGemini } from '../fake-gemini/index.ts';
import { blocksOf, DOCUMENT, lacking } from './toolchains.ts';

const SERVER = 'A server to try with';

/** What is to be seen in what the blocks of a section write. */
const SECTIONS: [string, RegExp[]][] = [
  [
    'curl',
    [
      /^You said: Why is the sky blue\?$/m,
      /^\{"keyHealth":\{"keyId":"key-00000001","state":"KEY_STATE_AVAILABLE"/m,
      /^HTTP\/1\.1 404 Not Found/m,
      /"reason":"POOL_NOT_FOUND"/,
      /^key-00000002\tKEY_STATE_AVAILABLE\t2$/m,
      /^\{"resumeToken":.*"snapshot":\{"keys":\[\{"keyId":"key-00000001"/m,
    ],
  ],
  ['buf curl', [/^keybalancer\.v1\.KeyBalancerService\/AcquireKey$/m, /"keyHealth": \{/, /"snapshot": \{/]],
  ['Python', [/^You said: Why is the sky blue\?\n(?:.*\n)*default key-00000001 AVAILABLE\nwatching$/m]],
  ['Go', [/^You said: Why is the sky blue\?\n(?:.*\n)*default key-00000001 AVAILABLE\nwatching$/m]],
];

test.for(SECTIONS)('the commands under "%s" do what they say', async ([section, seen], { skip }) => {
  const reason = lacking(section);
  skip(reason !== '', reason);
  const fake = await startFakeGemini({ acceptUnknownKeys: true });
  onTestFinished(() => fake.close());
  const { code, output } = await runBlocks(DOCUMENT, [...blocksOf(SERVER), ...blocksOf(section)], fake.url);
  expect(code, output).toBe(0);
  for (const pattern of seen) expect(output).toMatch(pattern);
});

test('no block of the document is left out', () => {
  const tried = [SERVER, ...SECTIONS.map(([section]) => section)].flatMap(blocksOf);
  expect(tried).toEqual(fencesOf(DOCUMENT));
});
