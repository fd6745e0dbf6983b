import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Files say their cost in their names. Only those that need Postgres pay for its start.
const POSTGRES = ['test/**/*.pg.test.ts', 'test/**/*.e2e.test.ts'];
const SOAK = ['test/**/*.soak.test.ts'];
// Features that Postgres 15 and 18 lack: npm run test:19.
const NEWER = process.env['SNO_TEST_VERSIONS']?.includes('19') ? [] : ['test/**/*-in-19.*.test.ts'];

const postgres = { globalSetup: './test/support/global-setup.ts', testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  test: {
    pool: 'forks',
    // The number of cores of the CI machine. With three, each file took 1.7 times as long.
    maxWorkers: 2,
    teardownTimeout: 30_000,
    reporters: ['default', './test/support/closing-line.ts'],
    projects: [
      {
        extends: true,
        test: {
          name: 'pure',
          include: ['test/**/*.test.ts'],
          exclude: [...POSTGRES, ...SOAK],
          // On a busy machine, tests with random input take several times as long.
          testTimeout: 60_000,
          // Files share the modules that they load. Each undoes what it does to globals.
          isolate: false,
        },
      },
      {
        extends: true,
        test: { name: 'postgres', include: POSTGRES, exclude: NEWER, isolate: false, ...postgres },
      },
      // Hours, not minutes: only where asked for (npm run test:soak).
      ...(process.env['SOAK'] === undefined
        ? []
        : [
            {
              extends: true as const,
              test: {
                name: 'soak',
                include: SOAK,
                ...postgres,
                testTimeout: 0,
                // A busy machine is no violation.
                env: { SNO_TEST_WAIT_MS: '600000' },
              },
            },
          ]),
    ],
  },
});
