import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { SETTINGS } from '../../src/server/config/settings.ts';
import { environmentOf, readStages, textsOf } from '../repository/dockerfile.ts';
import { ROOT } from '../repository/root.ts';
import { isInstalled } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';
import { DEPLOY, readText, readYaml } from './manifests.ts';

interface Service {
  image: string;
  build?: string;
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  ports?: string[];
  networks?: string[];
  read_only?: boolean;
  cap_drop?: string[];
  security_opt?: string[];
  stop_grace_period?: string;
}

interface Compose {
  services: Record<string, Service>;
  networks: Record<string, object | null>;
  volumes: Record<string, object | null>;
}

const compose = readYaml<Compose>('compose.yaml');
const { keybalancer, prometheus, grafana } = compose.services as Record<string, Service>;
const services = Object.entries(compose.services);
const image = readStages(join(ROOT, 'Dockerfile')).at(-1)!;

/** Debian's, which needs no daemon to read a file; the newer plugin of Docker's own reads it in the same way. */
function config(path: string) {
  return spawnSync('docker-compose', ['-f', path, 'config'], { encoding: 'utf8' });
}

function lacking(program: string, debianPackage: string): string {
  if (isInstalled(program)) return '';
  const reason = `deploy/ is not tried with ${program}: Debian's package ${debianPackage} is missing`;
  process.stderr.write(`${reason}\n`);
  return reason;
}

test('docker-compose reads the file, and finds a mistake in it', ({ skip }) => {
  const reason = lacking('docker-compose', 'docker-compose');
  skip(reason !== '', reason);
  const { status, stdout, stderr } = config(join(DEPLOY, 'compose.yaml'));
  expect(status, stderr).toBe(0);
  expect(Object.keys((parse(stdout) as Compose).services).sort()).toEqual(['grafana', 'keybalancer', 'prometheus']);

  const mistakes = [
    ['    read_only: true', '    readonly: true'],
    ['      - data:/var/lib/keybalancer', '      - date:/var/lib/keybalancer'],
  ] as const;
  for (const [right, wrong] of mistakes) {
    const text = readText('compose.yaml');
    expect(text).toContain(right);
    const path = join(tempDir(), 'compose.yaml');
    writeFileSync(path, text.replace(right, wrong));
    expect(config(path).status, wrong).toBe(1);
  }
});

test('promtool takes the configuration of Prometheus', ({ skip }) => {
  const reason = lacking('promtool', 'prometheus');
  skip(reason !== '', reason);
  const path = join(DEPLOY, 'prometheus/prometheus.yml');
  const { status, stderr } = spawnSync('promtool', ['check', 'config', path], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
});

test('nothing is published beyond this machine, and no container can gain rights', () => {
  for (const [name, service] of services) {
    for (const port of service.ports ?? [])
      expect([name, port]).toEqual([name, expect.stringMatching(/^127\.0\.0\.1:/)]);
    expect([name, service.cap_drop, service.security_opt]).toEqual([name, ['ALL'], ['no-new-privileges:true']]);
  }
  expect([keybalancer!.read_only, prometheus!.read_only]).toEqual([true, true]);
});

test('images of others are named with their version', () => {
  const others = services.filter(([, { build }]) => build === undefined).map(([, { image: name }]) => name);
  expect(others.filter((name) => !/:v?\d+\.\d+\.\d+$/.test(name))).toEqual([]);
});

test('the server runs from the Dockerfile, with its volume and ports, and settings that there are', () => {
  expect(existsSync(join(DEPLOY, keybalancer!.build!, 'Dockerfile'))).toBe(true);
  expect(keybalancer!.volumes).toEqual([`data:${textsOf(image, 'VOLUME')[0]}`]);
  const published = keybalancer!.ports!.map((port) => port.split(':').at(-1));
  expect(textsOf(image, 'EXPOSE')).toEqual([published.join(' ')]);
  const variables = Object.values(SETTINGS).map(({ variable }) => variable as string);
  expect(variables).toEqual(expect.arrayContaining(Object.keys(keybalancer!.environment!)));
  expect(Number.parseInt(keybalancer!.stop_grace_period!, 10)).toBeGreaterThan(10);
});

test('what is mounted, and whom one service calls another, is there', () => {
  const mounts = services.flatMap(([, { volumes = [] }]) => volumes).map((mount) => mount.split(':')[0]!);
  for (const source of mounts) {
    const there = source.startsWith('.') ? existsSync(join(DEPLOY, source)) : source in compose.volumes;
    expect([source, there]).toEqual([source, true]);
  }
  const named = services.flatMap(([, { networks = [] }]) => networks);
  expect([...new Set(named)].sort()).toEqual(Object.keys(compose.networks).sort());
  const { scrape_configs: scrapes } = readYaml<{ scrape_configs: { static_configs: { targets: string[] }[] }[] }>(
    'prometheus/prometheus.yml',
  );
  const httpPort = environmentOf(image).KEYBALANCER_HTTP!.split(':').at(-1);
  expect(scrapes.flatMap((scrape) => scrape.static_configs.flatMap(({ targets }) => targets))).toEqual([
    `keybalancer:${httpPort}`,
  ]);
  const { datasources } = readYaml<{ datasources: { url: string }[] }>('grafana/datasources/prometheus.yml');
  expect(datasources.map(({ url }) => url)).toEqual(['http://prometheus:9090']);
  const { providers } = readYaml<{ providers: { options: { path: string } }[] }>('grafana/dashboards/provider.yml');
  const [mount] = grafana!.volumes!.map((each) => each.split(':'));
  expect(providers.map(({ options }) => options.path)).toEqual([`${mount![1]}/dashboards`]);
});
