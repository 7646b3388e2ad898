import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { IStatefulSet } from 'kubernetes-models/apps/v1/StatefulSet';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import type { IService } from 'kubernetes-models/v1/Service';
import { expect, onTestFinished, test } from 'vitest';
import { SETTINGS } from '../../src/server/config/settings.ts';
import { environmentOf, readStages, textsOf } from '../repository/dockerfile.ts';
import { ROOT } from '../repository/root.ts';
import { MAIN } from '../support/build.ts';
import { tempDir } from '../support/temp-dir.ts';
import { type Manifest, problemsOf, readManifests, readText } from './manifests.ts';

const text = readText('kubernetes/keybalancer.yaml');
const manifests = readManifests(text);
const image = readStages(join(ROOT, 'Dockerfile')).at(-1)!;

const ofKind = <T extends object>(kind: string): T & Manifest =>
  manifests.find((each) => each.kind === kind) as unknown as T & Manifest;

const set = ofKind<IStatefulSet>('StatefulSet').spec!;
const pod = set.template.spec!;
const container = pod.containers[0]!;

test('the manifests are valid by the schemas of Kubernetes', async () => {
  expect(manifests.map(({ kind }) => kind).sort()).toEqual(
    ['Namespace', 'NetworkPolicy', 'Service', 'ServiceAccount', 'StatefulSet'].sort(),
  );
  expect(await problemsOf(manifests)).toBe('');
});

test.each([
  ['a misspelt field', 'readOnlyRootFilesystem', 'readonlyRootFilesystem', 'readonlyRootFilesystem'],
  ['a number in place of a text', 'value: "true"', 'value: true', 'value'],
  [
    'a missing field',
    'selector:\n    matchLabels: { app.kubernetes.io/name: keybalancer }\n  persistent',
    'persistent',
    'selector',
  ],
  ['a value that is not allowed', 'protocol: TCP', 'protocol: HTTP', 'HTTP'],
  [
    'a field at the wrong depth',
    '  replicas: 1\n',
    '  replicas: 1\n  enableServiceLinks: false\n',
    'enableServiceLinks',
  ],
])('%s is found', async (_, right, wrong, named) => {
  expect(text).toContain(right);
  const broken = text.replace(right, wrong);
  expect(await problemsOf(readManifests(broken))).toContain(named);
});

test('all is in one namespace, which lets only restricted pods in', () => {
  expect(new Set(manifests.slice(1).map(({ metadata }) => metadata.namespace))).toEqual(new Set(['keybalancer']));
  expect(manifests[0]).toMatchObject({
    kind: 'Namespace',
    metadata: { name: 'keybalancer', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
  });
});

test('the pod keeps what the restricted pod security standard asks', () => {
  expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  for (const { securityContext } of [...pod.containers, ...(pod.initContainers ?? [])]) {
    expect(securityContext).toEqual({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    });
  }
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) expect(pod).not.toHaveProperty(field);
  const kinds = pod.volumes!.flatMap((volume) => Object.keys(volume).filter((name) => name !== 'name'));
  expect(kinds.sort()).toEqual(['emptyDir', 'secret']);
  expect(pod.automountServiceAccountToken).toBe(false);
  expect(ofKind('ServiceAccount')).toMatchObject({ automountServiceAccountToken: false });
});

test('who follows its commands waits for the pod before calling into it', () => {
  const { name } = ofKind('StatefulSet').metadata;
  const steps = ['apply --filename', `rollout status statefulset/${name}\n`, `exec --stdin ${name}-0 `];
  const places = steps.map((step) => text.indexOf(step));
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
});

test('to restore, the pod runs without the server, and without each probe that would miss it', () => {
  const operations = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8');
  const [, name, patch] = /kubectl patch statefulset (\S+) --patch '(.*?)'/s.exec(operations)!;
  expect(name).toBe(ofKind('StatefulSet').metadata.name);
  const probes = Object.keys(container).filter((field) => field.endsWith('Probe'));
  expect(JSON.parse(patch!).spec.template.spec.containers).toEqual([
    {
      name: container.name,
      command: ['sleep', 'infinity'],
      ...Object.fromEntries(probes.map((probe) => [probe, null])),
    },
  ]);
});

test('never do two servers run on one volume', () => {
  expect(set.replicas).toBe(1);
  expect(set.volumeClaimTemplates!.map(({ spec }) => spec!.accessModes)).toEqual([['ReadWriteOncePod']]);
  expect(set.persistentVolumeClaimRetentionPolicy).toEqual({ whenDeleted: 'Retain', whenScaled: 'Retain' });
});

test('what refers to something else in the file, or in the image, refers to what is there', () => {
  const { serviceName, selector, template } = set;
  const service = ofKind<IService>('Service');
  const policy = ofKind<INetworkPolicy>('NetworkPolicy').spec!;
  expect(serviceName).toBe(service.metadata.name);
  const labels = template.metadata!.labels;
  for (const wanted of [selector.matchLabels, service.spec!.selector, policy.podSelector!.matchLabels]) {
    expect(wanted).toEqual(labels);
  }
  const ports = container.ports!.map(({ name }) => name);
  const exposed = container.ports!.map(({ containerPort }) => containerPort);
  expect(textsOf(image, 'EXPOSE')).toEqual([exposed.join(' ')]);
  expect(service.spec!.ports!.map(({ targetPort }) => targetPort)).toEqual(ports);
  expect(service.spec!.ports!.map(({ port }) => port)).toEqual(exposed);
  const allowed = policy.ingress!.flatMap((rule) => rule.ports!.map(({ port }) => port));
  expect(ports).toEqual(expect.arrayContaining(allowed));
  const volumes = [
    ...pod.volumes!.map(({ name }) => name),
    ...set.volumeClaimTemplates!.map((each) => each.metadata!.name),
  ];
  expect(container.volumeMounts!.map(({ name }) => name).sort()).toEqual(volumes.sort());
  const { secretName } = pod.volumes!.find(({ secret }) => secret !== undefined)!.secret!;
  expect(text).toContain(`create secret generic ${secretName} --from-file=master.key`);
  const variables = Object.values(SETTINGS).map(({ variable }) => variable as string);
  expect(variables).toEqual(expect.arrayContaining(container.env!.map(({ name }) => name)));
});

test('the server may call DNS and the internet, but nothing in a private network', () => {
  const { policyTypes, egress } = ofKind<INetworkPolicy>('NetworkPolicy').spec!;
  expect(policyTypes).toEqual(['Ingress', 'Egress']);
  expect(egress!.map(({ ports }) => ports!.map(({ port }) => port))).toEqual([[53, 53], [443]]);
  const blocks = egress!.flatMap(({ to }) => to!.flatMap(({ ipBlock }) => ipBlock ?? []));
  for (const network of ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10']) {
    expect(blocks.flatMap(({ except }) => except)).toContain(network);
  }
});

test('as the pod sets it up, on a volume that root owns, the server starts, answers the probes, and stops in time', async () => {
  const root = tempDir();
  const isRoot = process.getuid!() === 0;
  const { runAsUser: uid, runAsGroup: gid, fsGroup } = pod.securityContext!;
  chmodSync(root, 0o755);
  const user = isRoot && spawnSync(process.execPath, ['-e', ''], { uid: uid!, gid: gid! }).status === 0;
  for (const { mountPath, name } of container.volumeMounts!) {
    const path = join(root, mountPath);
    mkdirSync(path, { recursive: true });
    // As kubelet does it for fsGroup.
    if (user) chownSync(path, 0, fsGroup!);
    chmodSync(path, 0o2775);
    if (name !== 'master-key') continue;
    const file = join(path, 'master.key');
    writeFileSync(file, `${Buffer.alloc(32, 7).toString('base64')}\n`);
    if (user) chownSync(file, 0, fsGroup!);
    chmodSync(file, pod.volumes!.find((volume) => volume.name === name)!.secret!.defaultMode!);
  }
  const given = container.env!.map(({ name, value }) => [name, value!.startsWith('/') ? join(root, value!) : value!]);
  const env = {
    ...environmentOf(image),
    ...Object.fromEntries(given),
    PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
    // The image's own addresses, at free ports.
    KEYBALANCER_GRPC: '0.0.0.0:0',
    KEYBALANCER_HTTP: '0.0.0.0:0',
  };
  const server = spawn(process.execPath, [MAIN, 'serve'], {
    cwd: root,
    env,
    ...(user ? { uid: uid!, gid: gid! } : {}),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void server.kill('SIGKILL'));
  let log = '';
  server.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    log += chunk;
  });
  const { value: line = '' } = await createInterface({ input: server.stdout })[Symbol.asyncIterator]().next();
  const http = /^ready .*http=0\.0\.0\.0:(\d+)/.exec(line)?.[1];
  expect(http, log).toBeDefined();
  for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
    expect(container.ports!.map(({ name }) => name)).toContain(probe!.httpGet!.port);
    // Kubelet names the pod by its address.
    const { status } = await fetch(`http://127.0.0.1:${http}${probe!.httpGet!.path}`, {
      headers: { host: '10.1.2.3' },
    });
    expect(status).toBe(200);
  }
  const began = performance.now();
  server.kill('SIGTERM');
  expect(await once(server, 'exit')).toEqual([0, null]);
  expect(performance.now() - began).toBeLessThan(pod.terminationGracePeriodSeconds! * 1000);
  const dataDir = join(root, container.env!.find(({ name }) => name === 'KEYBALANCER_DATA_DIR')!.value!);
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);
  // The master key is where it was given, not beside what it seals.
  expect(readdirSync(dataDir)).not.toContain('master.key');
});
