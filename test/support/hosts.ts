/**
 * Hosts on one machine: network namespaces on a bridge. Their connections can be cut silently.
 * Needs Linux, root and the program `ip`.
 *
 * A cut maps the other host's address to a MAC address that no host has. Packets are then lost, as
 * when a link between two machines fails: no connection is refused or closed.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Host {
  readonly name: string;
  /** Its address, which other hosts and the test can reach. */
  readonly address: string;
  /**
   * The test's own address on a separate link to this host, for a Postgres that listens on all
   * addresses. `cutOutside` cuts only this link.
   */
  readonly outside: string;
  /** The host's address on that link, as Postgres sees it. */
  readonly inside: string;
  /** A command that runs the command after it on this host. */
  readonly launch: readonly string[];
}

export interface Hosts<Name extends string> {
  readonly of: Readonly<Record<Name, Host>>;
  /** The networks of all hosts and links, for pg_hba.conf. */
  readonly networks: readonly string[];
  /** Cuts the connection of two hosts, in both directions. */
  partition(a: Host, b: Host): Promise<void>;
  heal(a: Host, b: Host): Promise<void>;
  /** Cuts the separate link between the host and the test. */
  cutOutside(host: Host): Promise<void>;
  healOutside(host: Host): Promise<void>;
  /** Ends all cuts. */
  healAll(): Promise<void>;
  /** Removes all hosts. Processes on them must have ended. */
  remove(): Promise<void>;
}

/** A MAC address that no host has. */
const NOWHERE = '02:00:00:00:de:ad';
const PREFIX = 'sno-';

export async function createHosts<Name extends string>(names: readonly Name[]): Promise<Hosts<Name>> {
  if (process.getuid?.() !== 0) throw new Error('hosts are network namespaces, and making them needs root');
  await sweep();
  const own = process.pid;
  // The kernel allows 15 characters for a name.
  const bridge = `sb${own}`;
  const [low, high] = [own % 64, (own >> 6) % 256];
  const cuts = new Map<string, () => Promise<void>>();
  const hosts = names.map((name, index): Host => {
    const namespace = `${PREFIX}${own}-${name}`;
    return {
      name,
      address: `10.${64 + low}.${high}.${index + 2}`,
      outside: `10.${128 + low}.${high}.${4 * index + 1}`,
      inside: `10.${128 + low}.${high}.${4 * index + 2}`,
      launch: ['ip', 'netns', 'exec', namespace],
    };
  });
  process.once('exit', () => removeSync(own));
  await ip('link', 'add', bridge, 'type', 'bridge');
  await ip('addr', 'add', `10.${64 + low}.${high}.1/24`, 'dev', bridge);
  await ip('link', 'set', bridge, 'up');
  for (const [index, host] of hosts.entries()) {
    const namespace = namespaceOf(host);
    const [port, cable] = [`sv${own}x${index}`, `sp${own}x${index}`];
    const within = (...args: readonly string[]) => ip('-n', namespace, ...args);
    await ip('netns', 'add', namespace);
    await ip('link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    await ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth1', 'netns', namespace);
    await ip('link', 'set', port, 'master', bridge, 'up');
    await ip('addr', 'add', `${host.outside}/30`, 'dev', cable);
    await ip('link', 'set', cable, 'up');
    await within('addr', 'add', `${host.address}/24`, 'dev', 'eth0');
    await within('addr', 'add', `${host.inside}/30`, 'dev', 'eth1');
    for (const device of ['lo', 'eth0', 'eth1']) await within('link', 'set', device, 'up');
  }

  /** Cuts, and notes how to end the cut. A second cut of the same link has no effect. */
  const cut = async (key: string, ends: readonly (readonly string[])[]) => {
    if (cuts.has(key)) return;
    cuts.set(key, async () => {
      for (const [namespace = '', address = '', device = ''] of ends)
        await ip(...inNamespace(namespace), 'neigh', 'del', address, 'dev', device);
    });
    for (const [namespace = '', address = '', device = ''] of ends) {
      const entry = ['neigh', 'replace', address, 'lladdr', NOWHERE, 'dev', device, 'nud', 'permanent'];
      await ip(...inNamespace(namespace), ...entry);
    }
  };
  const heal = async (key: string) => {
    const mend = cuts.get(key);
    cuts.delete(key);
    await mend?.();
  };
  const pair = (a: Host, b: Host) => [a.name, b.name].sort().join(' - ');
  const cableOf = (host: Host) => `sp${own}x${hosts.indexOf(host)}`;
  return {
    of: Object.fromEntries(hosts.map((host) => [host.name, host])) as Readonly<Record<Name, Host>>,
    networks: [`10.${64 + low}.${high}.0/24`, `10.${128 + low}.${high}.0/24`],
    partition: (a, b) =>
      cut(pair(a, b), [
        [namespaceOf(a), b.address, 'eth0'],
        [namespaceOf(b), a.address, 'eth0'],
      ]),
    heal: (a, b) => heal(pair(a, b)),
    cutOutside: (host) =>
      cut(host.name, [
        [namespaceOf(host), host.outside, 'eth1'],
        ['', host.inside, cableOf(host)],
      ]),
    healOutside: (host) => heal(host.name),
    healAll: async () => {
      for (const key of [...cuts.keys()]) await heal(key);
    },
    remove: () => removeOf(own),
  };
}

const namespaceOf = ({ launch }: Host): string => launch.at(-1) as string;
const inNamespace = (namespace: string): readonly string[] => (namespace === '' ? [] : ['-n', namespace]);

async function ip(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('ip', args);
  return stdout;
}

const namespacesIn = (list: string): string[] =>
  list
    .split('\n')
    .map((line) => line.split(' ')[0] as string)
    .filter((name) => name.startsWith(PREFIX));

/** Removes the hosts that a killed process left behind. */
async function sweep(): Promise<void> {
  const owners = namespacesIn(await ip('netns', 'list')).map((name) => Number(name.split('-')[1]));
  for (const owner of new Set(owners)) if (!existsSync(`/proc/${owner}`)) await removeOf(owner);
}

async function removeOf(owner: number): Promise<void> {
  const names = namespacesIn(await ip('netns', 'list')).filter((name) => name.startsWith(`${PREFIX}${owner}-`));
  for (const name of names) await ip('netns', 'del', name);
  await ip('link', 'del', `sb${owner}`).catch(() => undefined);
}

/** Removes this process's hosts when it ends. */
function removeSync(owner: number): void {
  const list = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  const names = namespacesIn(list).filter((name) => name.startsWith(`${PREFIX}${owner}-`));
  if (names.length === 0) return;
  for (const name of names) execFileSync('ip', ['netns', 'del', name]);
  execFileSync('ip', ['link', 'del', `sb${owner}`]);
}
