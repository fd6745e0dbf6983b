/** Starts the run's shared Postgres servers, one of each version, and stops them at its end. */
import type { TestProject } from 'vitest/node';
import { ownServer, type Version } from './own-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** URLs of the shared servers, as superuser. */
    postgres: Record<Version, string>;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [older, newer] = await Promise.all([ownServer({ version: 15 }), ownServer({ version: 18 })]);
  project.provide('postgres', { 15: older.url(), 18: newer.url() });
  return async () => {
    await Promise.all([older.stop('immediate'), newer.stop('immediate')]);
  };
}
