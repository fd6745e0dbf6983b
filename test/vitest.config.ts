import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Files say their cost in their names. Only those that need Postgres pay for its start.
const POSTGRES = ['test/**/*.pg.test.ts', 'test/**/*.e2e.test.ts'];
const SUPPORT = 'test/support';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    pool: 'forks',
    // Postgres needs the other part of the machine.
    maxWorkers: 2,
    teardownTimeout: 30_000,
    dangerouslyIgnoreUnhandledErrors: false,
    reporters: ['default', `./${SUPPORT}/closing-line.ts`],
    projects: [
      {
        extends: true,
        test: { name: 'pure', include: ['test/**/*.test.ts'], exclude: POSTGRES },
      },
      {
        extends: true,
        test: {
          name: 'postgres',
          include: POSTGRES,
          globalSetup: `./${SUPPORT}/global-setup.ts`,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
