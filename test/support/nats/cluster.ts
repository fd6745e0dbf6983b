/** Three nats-servers in a cluster, so that streams can have three replicas. */
import { freePort } from '../free-port.ts';
import { until } from '../wait.ts';
import { createNats, type NatsOptions, type NatsServer } from './server.ts';

export interface NatsCluster {
  readonly servers: readonly NatsServer[];
  /** The URLs of all servers, separated by commas. */
  readonly url: string;
  /** Starts the servers that do not run, and resolves when all are healthy. */
  start(): Promise<void>;
  /** Ends all servers by kill -9, in the same moment. */
  kill(): Promise<void>;
  /** The server that leads the stream now. */
  leaderOf(stream: string): Promise<NatsServer>;
  remove(): Promise<void>;
}

/** The parts of JetStream's monitoring page about the cluster and streams. */
interface Page {
  readonly meta_cluster?: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly current: boolean; readonly offline?: boolean }[];
  };
  readonly account_details?: readonly {
    readonly stream_detail?: readonly { readonly name: string; readonly cluster?: { readonly leader?: string } }[];
  }[];
}

const SIZE = 3;

/**
 * Starts a cluster, and resolves when JetStream serves. `placed`: options of each server by its
 * index, such as its address.
 */
export async function startNatsCluster(
  options: NatsOptions = {},
  placed: (index: number) => NatsOptions = () => ({}),
): Promise<NatsCluster> {
  const hosts = Array.from({ length: SIZE }, (_, index) => placed(index).host ?? options.host ?? '127.0.0.1');
  const listen: string[] = [];
  for (const host of hosts) listen.push(`${host}:${await freePort()}`);
  const routes = listen.map((address) => `nats://${address}`);
  const servers: NatsServer[] = [];
  for (const [index, address] of listen.entries()) {
    const cluster = { name: 'tests', listen: address, routes };
    servers.push(await createNats({ name: `nats${index + 1}`, ...options, ...placed(index), cluster }));
  }
  const start = async () => {
    await Promise.all(servers.filter(({ isRunning }) => !isRunning).map((server) => server.start()));
    await Promise.all(servers.map((server) => server.healthy()));
    await until(() => isComplete(servers), 'the cluster is complete');
  };
  const remove = async () => void (await Promise.all(servers.map((server) => server.remove())));
  try {
    await start();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    servers,
    url: servers.map(({ url }) => url).join(','),
    start,
    kill: async () => void (await Promise.all(servers.map((server) => server.kill()))),
    leaderOf: (stream) =>
      until(async () => {
        const leads = await Promise.all(servers.map((server) => isLeader(server, stream)));
        return servers.find((_, index) => leads[index]);
      }, `${stream} has a leader`),
    remove,
  };
}

/** Whether the server runs and reports that it leads the stream. A frozen one does not answer. */
async function isLeader(server: NatsServer, stream: string): Promise<boolean> {
  if (!server.isRunning) return false;
  const page = await server.monitor<Page>('jsz?accounts=true&streams=true').catch(() => undefined);
  const streams = page?.account_details?.flatMap(({ stream_detail = [] }) => stream_detail) ?? [];
  return streams.some(({ name, cluster }) => name === stream && cluster?.leader === server.name);
}

/** A healthy server may still consider the others offline, and then places no replica there. */
async function isComplete(servers: readonly NatsServer[]): Promise<boolean> {
  for (const server of servers) {
    const { meta_cluster: { leader, replicas = [] } = {} } = await server.monitor<Page>('jsz');
    if (leader !== server.name) continue;
    return replicas.length === SIZE - 1 && replicas.every(({ current, offline }) => current && offline !== true);
  }
  return false;
}
