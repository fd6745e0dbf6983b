/** Starts the run's shared Postgres servers, one of each kind, and stops them at its end. */
import type { TestProject } from 'vitest/node';
import { ownServer, SERVERS } from './own-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** URLs of the shared servers, as superuser, by the names of their kinds. */
    postgres: Record<string, string>;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const servers = await Promise.all(SERVERS.map((version) => ownServer({ version })));
  project.provide(
    'postgres',
    Object.fromEntries(servers.map((server, index) => [String(SERVERS[index]), server.url()])),
  );
  return async () => {
    await Promise.all(servers.map((server) => server.stop('immediate')));
  };
}
